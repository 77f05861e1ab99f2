"""From a network's output to object numbers: what keeps objects that touch apart, and is learnt."""
