"""Tasks, generated on the device: a key in, a batch or an endless stream of them out."""
