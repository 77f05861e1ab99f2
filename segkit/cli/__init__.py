"""The command line: NAME_command.py is `segkit NAME`, imported only when it is called."""
