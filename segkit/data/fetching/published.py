"""How a data set is published: its terms, its archives, and what to do where those are by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack: tar, tar.gz, tar.bz2, tar.xz or zip.

    url            where its owners publish it, http or https
    into           folder below the data set's own that its content is unpacked to, "" for that one
    sha256, md5    as published, in hexadecimal; None where its owners publish none. An MD5 finds a
                   damaged file, no forged one
    largest        bytes that it may have: more than that is not what was published
    largest_whole  bytes that its content may have
    """

    url: str
    into: str = ""
    sha256: str | None = None
    md5: str | None = None
    largest: int = 4_000_000_000
    largest_whole: int = 16_000_000_000

    @property
    def name(self) -> str:
        """The file's name, such as images.tar.gz."""
        return self.url.partition("?")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class PublishedData:
    """What a data set's class says about its source, as its attribute `published`.

    homepage   where it is described
    licence    as its owners state it
    citation   the paper to cite
    archives   what `segkit data download` fetches; none where it may not be passed on or is given
               out after a registration
    by_hand    where to get it and where to put it, sentences with full stops
    """

    homepage: str
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()
    by_hand: str = ""
