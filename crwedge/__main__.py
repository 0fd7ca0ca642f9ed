"""`python -m crwedge` is `crwedge`."""

from crwedge.cli import main

if __name__ == "__main__":
    main()
