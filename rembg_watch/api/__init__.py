"""The Rembg API as a typed client library; knows nothing of this program."""
