"""`python -m scansmith` is `scansmith`."""

from scansmith.apps.cli import main

if __name__ == "__main__":
    main()
