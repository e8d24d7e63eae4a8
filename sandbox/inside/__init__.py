"""The half of the sandbox that runs behind the wall.

Only the standard library and relative imports: the package is started by its path in a fresh interpreter,
and the same files are copied into containers, where nothing of this project is installed.
"""
