"""`python -m embedded_model`."""

from embedded_model.training import main

if __name__ == "__main__":
    main()
