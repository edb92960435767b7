"""Prints the directory of each PostgreSQL that can be used here, in the order of preference."""

from management.installation import find_installations

if __name__ == "__main__":
    for installation in find_installations():
        print(installation.bindir)
