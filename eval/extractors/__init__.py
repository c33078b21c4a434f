"""What finds mentions in a text: a file each, with a function `build(**options)` that makes one."""
