"""`python -m vlm2vec.training.embedded`."""

from vlm2vec.training.embedded.training import main

if __name__ == "__main__":
    main()
