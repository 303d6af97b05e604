"""``python -m rusd`` is the ``rusd`` command."""

from rusd.cli import main

if __name__ == "__main__":
    main()
