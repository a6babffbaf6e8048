// A field per act that takes the key pressed in it. Text reaches the page by textContent and value only.
const HELD = ["Control", "Alt", "Shift"];

function spelt(event) {
  const letter = event.key.length === 1 && event.key.toLowerCase() !== event.key.toUpperCase();
  const key = letter ? event.key.toLowerCase() : event.key;
  const held = [event.ctrlKey && "Control", event.altKey && "Alt", event.shiftKey && (letter || key.length > 1 || key === " ") && "Shift"];
  return [...held.filter(Boolean), key].join("+");
}

function shown(key) {
  const words = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Control: "Ctrl" };
  const parts = key.length > 1 ? key.split("+").map((part) => part || "+") : [key];
  return parts.map((part) => words[part] || (part.length === 1 ? part.toUpperCase() : part)).join(" + ");
}

class Keys {
  constructor(mount) {
    this.mount = mount;
    this.rows = new Map();
    this.keys = {};
  }

  build(groups) {
    const make = (tag, name, text) => {
      const made = document.createElement(tag);
      made.className = name;
      if (text !== undefined) made.textContent = text;
      return made;
    };
    for (const { name, acts } of groups) {
      const group = make("section", "group");
      group.append(make("h2", "", name));
      for (const { act, words, usual } of acts) {
        const row = make("label", "row");
        const field = make("input", "key");
        field.readOnly = true;
        field.autocomplete = "off";
        field.setAttribute("aria-label", words);
        field.addEventListener("keydown", (event) => this.pressed(event, act, field));
        const was = make("span", "usual", usual);
        row.append(make("span", "words", words), was, field);
        group.append(row);
        this.rows.set(act, { row, field, was });
      }
      this.mount.append(group);
    }
  }

  pressed(event, act, field) {
    if (event.key === "Tab" || event.metaKey || [...HELD, "Meta", "CapsLock", "AltGraph"].includes(event.key)) return;
    event.stopPropagation();
    if (event.key === "Escape") { field.blur(); return; }
    event.preventDefault();
    const key = event.key === "Backspace" || event.key === "Delete" ? "" : spelt(event);
    this.keys = { ...this.keys, [act]: key };
    field.value = key ? shown(key) : "";
    this.send({ revision: this.revision, keys: this.keys });
  }

  update({ revision, groups }, send) {
    this.send = send;
    if (!this.rows.size) this.build(groups);
    const fresh = revision !== this.revision;
    this.revision = revision;
    for (const { act, key, shown: word, own, wrong } of groups.flatMap((group) => group.acts)) {
      const { row, field, was } = this.rows.get(act);
      // What was pressed since the server looked stays: its word comes with the next answer.
      if (fresh || !(act in this.keys)) this.keys[act] = key;
      if (this.keys[act] === key) {
        field.value = word;
        row.classList.toggle("wrong", Boolean(wrong));
        field.setAttribute("aria-invalid", String(Boolean(wrong)));
        field.title = wrong;
        was.hidden = !own;
      }
      field.placeholder = "none";
    }
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const mount = parentElement.querySelector(".mount");
  mount.keys ??= new Keys(mount);
  mount.keys.update(data, (value) => setStateValue("keys", value));
}
