"""``python -m experiments``."""

from experiments._cli import main_of_process

if __name__ == "__main__":
    main_of_process()
