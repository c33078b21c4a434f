"""REET inside other libraries: a module each, which imports its library only when it is imported itself."""
