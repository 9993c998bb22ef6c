"""Your code: a module here is in the image, and `HANDLER=handlers.<module>:<function>` makes the subscriber call it."""
