"""`segkit new-plugin KIND NAME`."""

import pytest

from segkit.cli.main import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["new-plugin", *arguments])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_it_writes_the_package_and_says_what_comes_next(tmp_path, capsys):
    status, out, _ = run(capsys, "encoder", "brand-new", "--out", str(tmp_path))
    assert status == 0
    folder = tmp_path / "segkit-brand-new"
    assert (folder / "src" / "segkit_brand_new" / "__init__.py").is_file()
    assert out.splitlines()[0] == f"Wrote {folder}/. Next:"
    assert f"  cd {folder}" in out
    assert "  segkit info encoder brand-new" in out


def test_the_plural_of_a_kind_serves_too(tmp_path, capsys):
    status, out, _ = run(capsys, "losses", "brand-new", "--out", str(tmp_path / "new" / "folder"))
    assert status == 0
    assert "segkit info loss brand-new" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encoder", "Bad Name"], "'Bad Name' cannot name an encoder."),
        (["encoders", "densenet121"], "offers an encoder called 'densenet121' already."),
        (["neck", "tiny"], "there is no kind of component called 'neck'."),
    ],
)
def test_what_is_wrong_is_said_with_status_2(tmp_path, capsys, arguments, message):
    status, _, error = run(capsys, *arguments, "--out", str(tmp_path))
    assert status == 2
    assert message in error
    assert [*tmp_path.iterdir()] == []


def test_a_second_time_is_refused(tmp_path, capsys):
    run(capsys, "metric", "brand-new", "--out", str(tmp_path))
    file = tmp_path / "segkit-brand-new" / "README.md"
    file.write_text("mine")
    status, _, error = run(capsys, "metric", "brand-new", "--out", str(tmp_path))
    assert status == 2
    assert "exists already" in error
    assert file.read_text() == "mine"
