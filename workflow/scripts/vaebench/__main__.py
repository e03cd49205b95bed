"""`python -m vaebench`: the command `vaebench` where it is not installed."""

from vaebench.command import main

if __name__ == "__main__":
    raise SystemExit(main())
