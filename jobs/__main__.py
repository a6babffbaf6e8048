"""Every button without a browser: `python -m jobs --help`."""

from jobs.commands import main

raise SystemExit(main())
