"""The one way in to an image: address -> bytes -> size, orientation, pixels."""
