"""For the project's own suite only: the plugin itself is installed, as for everybody else."""

pytest_plugins = ["pytester"]
