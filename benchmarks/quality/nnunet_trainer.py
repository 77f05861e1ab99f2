"""nnU-Net's trainer with an end: all as it is, but as long as the clock in NNUNET_ENDS_AT allows.

nnU-Net finds it through nnUNet_extTrainer, the folder in which it looks for trainers of others.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

EXPONENT = 0.9
# Writing the checkpoint, in steps' stead.
SAVING_SECONDS = 3.0


class nnUNetTrainerMinutes(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801  # its own way
    """Steps until the time is over, the learning rate falling by its poly rule to 0 with it."""

    def run_training(self) -> None:
        seed = int(os.environ["NNUNET_SEED"])
        torch.manual_seed(seed)
        np.random.seed(seed)
        ends = float(os.environ["NNUNET_ENDS_AT"]) - SAVING_SECONDS
        self.on_train_start()
        self.network.train()
        began = before = time.time()
        longest, steps = 0.0, 0
        while steps == 0 or before + longest < ends:
            share = min(1.0, max(0.0, (before - began) / max(ends - began, 1e-3)))
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - share) ** EXPONENT
            self.train_step(next(self.dataloader_train))
            now = time.time()
            longest, before, steps = max(longest, now - before), now, steps + 1
        self.print_to_log_file(f"{steps} steps, the longest of {longest:.1f} s")
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_final.pth"))

    def save_checkpoint(self, filename: str) -> None:
        """Without the history of epochs, of which there is none."""
        network = self.network
        torch.save(
            {
                "network_weights": network.state_dict(),
                "init_args": self.my_init_kwargs,
                "trainer_name": self.__class__.__name__,
                "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            },
            filename,
        )

    def perform_actual_validation(self, *arguments: Any, **options: Any) -> None:
        """The test images are scored elsewhere, and the minutes are over."""
