"""Quantiles of Student's distribution, without a library: results are read where none is needed."""

from __future__ import annotations

NORMAL_975 = 1.959964
# 97.5 %, by degrees of freedom from 1; beyond: the normal's.
STUDENT_975 = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004),
    *(2.262157, 2.228139, 2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905),
    *(2.109816, 2.100922, 2.093024, 2.085963),
)


def student_975(freedom: int) -> float:
    """The 97.5 % quantile for so many degrees of freedom, from 1."""
    return STUDENT_975[freedom - 1] if freedom <= len(STUDENT_975) else NORMAL_975
