"""Roles: who may do what, who may change it, and that nobody can lock everybody out."""

import pytest

from db import people
from tempo_core.errors import NotAllowed, Unknown


@pytest.mark.parametrize(
    ("role", "may"),
    [("viewer", [True, False, False]), ("reviewer", [True, True, False]), ("admin", [True, True, True])],
)
def test_each_role_may_do_what_those_before_it_may(shelf, role, may):
    person = shelf.person(f"a {role}", role)
    assert [people.may(person, wanted) for wanted in people.ROLES] == may


def test_an_admin_gives_roles_to_others(shelf, me, ada):
    shelf.do(people.set_role, me, ada.id, "admin")
    now = shelf.look(people.get, ada.id)
    assert now.role == "admin"
    shelf.do(people.set_role, now, me.id, "viewer")
    assert shelf.look(people.get, me.id).role == "viewer"


def test_nobody_else_gives_roles_and_nobody_their_own(shelf, me, ada, bob):
    with pytest.raises(NotAllowed, match="needs admin"):
        shelf.do(people.set_role, ada, bob.id, "admin")
    with pytest.raises(NotAllowed, match="their own role"):
        shelf.do(people.set_role, me, me.id, "viewer")
    with pytest.raises(NotAllowed, match="their own role"):
        shelf.do(people.set_active, me, me.id, False)
    with pytest.raises(Unknown):
        shelf.do(people.set_role, me, 99, "viewer")
    with pytest.raises(Unknown, match="no role king"):
        shelf.do(people.set_role, me, ada.id, "king")


def test_who_is_not_active_may_do_nothing_and_comes_back_with_the_old_role(shelf, me, ada):
    shelf.do(people.set_active, me, ada.id, False)
    gone = shelf.look(people.get, ada.id)
    assert [people.may(gone, role) for role in people.ROLES] == [False, False, False]
    with pytest.raises(NotAllowed, match="Ada is inactive"):
        people.require(gone, "viewer")
    shelf.do(people.set_active, me, ada.id, True)
    assert shelf.look(people.get, ada.id).role == "reviewer"


def test_a_known_person_keeps_the_role_unless_the_settings_name_an_admin(shelf, ada):
    again = shelf.do(people.add, "test|Ada", "Ada", "viewer")
    assert again.role == "reviewer"
    raised = shelf.do(people.add, "test|Ada", "Ada", "admin", at_least=True)
    assert (raised.id, raised.role) == (ada.id, "admin")
    kept = shelf.do(people.add, "test|Ada", "Ada", "reviewer", at_least=True)
    assert kept.role == "admin"


def test_the_list_shows_everybody_and_who_is_local(shelf, me, ada, bob):
    found = shelf.look(people.listing)
    assert [(p.name, p.role, p.active, p.local) for p in found] == [
        ("local", "admin", True, True), ("Ada", "reviewer", True, False), ("Bob", "reviewer", True, False),
    ]  # fmt: skip
