"""Links against real ends on this machine: an SSH server, a pty, a socket."""
