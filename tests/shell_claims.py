"""What every Shell promises. The modules that test one inherit these claims and give the fixtures
``shell``, ``place`` (a directory on the box to write to) and ``by``."""

from __future__ import annotations

import posixpath
import shlex
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.deadline import Deadline
from harness.errors import CommandFailed, DeadlineExpired, DeviceRefused, Misuse
from harness.target import Shell

WORDS = {
    "spaces": ("a b", " ", "  lead"),
    "quotes": ("'", '"', "it's", "\\'", '"$HOME"', "`id`"),
    "newlines": ("a\nb", "\n", "end\n"),
    "unicode": ("grüß", "日本", "\U0001f511"),
    "empty": ("", "x", ""),
    "dashes": ("-n", "--", "-", "--help"),
    "shell": ("$HOME", "*", "~", "a;b", "a&&b", "#x", "!x", "{a,b}", "A=b", "\\n", "\t"),
    "foreign": ("\udcff\udcfe",),
}


class ShellClaims:
    """Each promise of ``harness.target.Shell``, and its failure."""

    bulk = 3_000_000
    """Bytes of the large transfers: more than any window on the way, where that is affordable."""

    @pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
    def test_argv_arrives_word_for_word(
        self, shell: Shell, by: Deadline, words: tuple[str, ...]
    ) -> None:
        done = shell.run("printf", "%s\\0", *words, by=by)

        arrived = done.stdout.decode(errors="surrogateescape").split("\0")[:-1]
        assert tuple(arrived) == words

    @pytest.mark.parametrize("name", ["A=b", "if", "~", "no such program"])
    def test_a_name_is_a_program_never_syntax(self, shell: Shell, by: Deadline, name: str) -> None:
        with pytest.raises(CommandFailed) as caught:
            shell.run(name, "x", by=by)

        assert caught.value.status == 127
        assert b"not found" in caught.value.stderr

    def test_a_file_that_is_no_program_gives_126(self, shell: Shell, by: Deadline) -> None:
        assert shell.run("/etc/passwd", by=by, check=False).status == 126

    @pytest.mark.parametrize(
        "argv", [(), ("",), ("-x",), ("true", "a\0b"), ("true", "x" * 200_000)]
    )
    def test_what_no_exec_can_pass_is_refused_here(
        self, shell: Shell, by: Deadline, argv: tuple[str, ...]
    ) -> None:
        with pytest.raises(Misuse):
            shell.run(*argv, by=by)

    def test_the_streams_are_apart_and_exact(self, shell: Shell, by: Deadline) -> None:
        done = shell.run("sh", "-c", "printf '\\377\\r\\n'; printf '\\376' >&2", by=by)

        assert (done.stdout, done.stderr, done.status) == (b"\xff\r\n", b"\xfe", 0)

    def test_a_bad_status_is_raised_with_what_was_said(self, shell: Shell, by: Deadline) -> None:
        with pytest.raises(CommandFailed, match="exited with 3 on the box: no luck") as caught:
            shell.run("sh", "-c", "echo so far; echo no luck >&2; exit 3", by=by)

        assert (caught.value.stdout, caught.value.stderr) == (b"so far\n", b"no luck\n")

    def test_a_bad_status_is_returned_when_nobody_checks(self, shell: Shell, by: Deadline) -> None:
        assert shell.run("sh", "-c", "exit 255", by=by, check=False).status == 255

    @pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11)])
    def test_a_signal_gives_128_and_its_number(
        self, shell: Shell, by: Deadline, name: str, number: int
    ) -> None:
        done = shell.run("sh", "-c", f"kill -s {name} $$", by=by, check=False)

        assert done.status == 128 + number

    def test_stdin_arrives_and_ends(self, shell: Shell, by: Deadline) -> None:
        every = bytes(range(256))

        assert shell.run("cat", by=by, stdin=every).stdout == every
        assert shell.run("cat", by=by).stdout == b""

    def test_much_goes_in_and_out_at_once(self, shell: Shell, by: Deadline) -> None:
        data = b"0123456789abcdef" * (self.bulk // 16)

        assert shell.run("cat", by=by, stdin=data).stdout == data

    def test_much_comes_on_both_streams(self, shell: Shell, by: Deadline) -> None:
        script = f"head -c {self.bulk} /dev/zero >&2; head -c {self.bulk} /dev/zero"
        done = shell.run("sh", "-c", script, by=by)

        assert (len(done.stdout), len(done.stderr)) == (self.bulk, self.bulk)

    def test_input_that_nobody_reads_does_no_harm(self, shell: Shell, by: Deadline) -> None:
        assert shell.run("true", by=by, stdin=b"x" * self.bulk).status == 0

    def test_what_runs_on_in_the_background_is_not_waited_for(
        self, shell: Shell, by: Deadline
    ) -> None:
        done = shell.run("sh", "-c", "sleep 30 & echo $!", by=by)
        shell.run("kill", done.text, by=by)

        assert done.seconds < 25

    def test_a_command_that_runs_out_of_time_is_killed(
        self, shell: Shell, by: Deadline, place: str
    ) -> None:
        script = f"echo $$ >{shlex.quote(place)}/pid; exec sleep 1000"
        shell.run("true", by=by)  # the time is the command's, not the login's
        with pytest.raises(DeadlineExpired, match="sleep 1000"):
            shell.run("sh", "-c", script, by=Deadline.after(2))

        pid = shell.read(f"{place}/pid", by=by).decode().strip()
        gone = 'while kill -0 "$1" 2>/dev/null; do sleep 0.05; done'
        assert shell.run("sh", "-c", gone, "wait", pid, by=by).status == 0

    def test_after_a_command_ran_out_of_time_the_next_one_is_answered(
        self, shell: Shell, by: Deadline
    ) -> None:
        shell.run("true", by=by)  # the time is the command's, not the login's
        with pytest.raises(DeadlineExpired):
            shell.run("sleep", "1000", by=Deadline.after(0.5))

        assert shell.run("echo", "next", by=by).text == "next"

    def test_nothing_is_asked_once_time_is_up(self, shell: Shell, by: Deadline, place: str) -> None:
        with pytest.raises(DeadlineExpired):
            shell.run("touch", f"{place}/asked", by=Deadline.after(0))

        assert shell.run("test", "-e", f"{place}/asked", by=by, check=False).status == 1

    def test_no_state_outlives_a_call(self, shell: Shell, by: Deadline) -> None:
        before = shell.run("pwd", by=by).text
        shell.run("sh", "-c", "cd /; export X=1; umask 0", by=by)

        assert shell.run("pwd", by=by).text == before
        assert shell.run("sh", "-c", "echo ${X-unset}", by=by).text == "unset"

    def test_threads_do_not_mix_their_answers(self, shell: Shell, by: Deadline) -> None:
        def echo(number: int) -> str:
            return shell.run("cat", by=by, stdin=b"%d" % number).text

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(echo, range(12))) == [str(number) for number in range(12)]

    @pytest.mark.parametrize("size", [0, 1, 32768, 300_001])
    def test_a_file_comes_back_as_it_was_written(
        self, shell: Shell, by: Deadline, place: str, size: int
    ) -> None:
        data = bytes(i * 7 % 251 for i in range(size))
        shell.write(f"{place}/file", data, by=by)

        assert shell.read(f"{place}/file", by=by) == data

    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o777, 0o400, 0o4755])
    def test_a_file_has_exactly_its_mode(
        self, shell: Shell, by: Deadline, place: str, mode: int
    ) -> None:
        shell.write(f"{place}/file", b"x", by=by, mode=mode)

        assert shell.run("stat", "-c", "%a", f"{place}/file", by=by).text == f"{mode:o}"

    def test_writing_replaces_the_whole_file_and_leaves_nothing_else(
        self, shell: Shell, by: Deadline, place: str
    ) -> None:
        shell.write(f"{place}/file", b"a long first content", by=by)
        shell.write(f"{place}/file", b"short", by=by)

        assert shell.read(f"{place}/file", by=by) == b"short"
        assert shell.run("ls", "-A", place, by=by).text == "file"

    def test_a_link_at_the_path_is_replaced_not_followed(
        self, shell: Shell, by: Deadline, place: str
    ) -> None:
        shell.write(f"{place}/victim", b"old", by=by)
        shell.run("ln", "-s", f"{place}/victim", f"{place}/link", by=by)
        shell.write(f"{place}/link", b"new", by=by)

        assert shell.read(f"{place}/victim", by=by) == b"old"
        assert shell.run("test", "-L", f"{place}/link", by=by, check=False).status == 1

    def test_writing_into_no_directory_is_refused(
        self, shell: Shell, by: Deadline, place: str
    ) -> None:
        with pytest.raises(DeviceRefused, match="no such file or directory"):
            shell.write(f"{place}/nowhere/file", b"x", by=by)

    def test_writing_over_a_directory_is_refused_and_leaves_nothing(
        self, shell: Shell, by: Deadline, place: str
    ) -> None:
        shell.run("mkdir", f"{place}/taken", by=by)
        with pytest.raises(DeviceRefused, match="taken"):
            shell.write(f"{place}/taken", b"x", by=by)

        assert shell.run("ls", "-A", place, by=by).text == "taken"

    @pytest.mark.parametrize("name", ["missing", "."])
    def test_what_is_no_file_cannot_be_read(
        self, shell: Shell, by: Deadline, place: str, name: str
    ) -> None:
        with pytest.raises(DeviceRefused, match=posixpath.basename(place)):
            shell.read(f"{place}/{name}", by=by)

    def test_files_without_a_true_size_are_read_whole(self, shell: Shell, by: Deadline) -> None:
        assert b"MemTotal" in shell.read("/proc/meminfo", by=by)

    @pytest.mark.parametrize("path", ["file", "", "/tmp/", "/tmp/a\0b"])
    def test_only_absolute_paths_of_files_are_taken(
        self, shell: Shell, by: Deadline, path: str
    ) -> None:
        with pytest.raises(Misuse):
            shell.read(path, by=by)
        with pytest.raises(Misuse):
            shell.write(path, b"x", by=by)
