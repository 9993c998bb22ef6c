"""Your code: modules here are in the image; `HANDLER=handlers.<module>:<function>` makes the subscriber call one."""
