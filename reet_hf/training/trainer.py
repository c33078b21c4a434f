"""Trainers of the scorer and the extractor: two learning rates; evaluation of the scorer keeps one number a query."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer

from .distillation import distillation_loss
from .metrics import kept_evidence


class ReetTrainer(Trainer):
    """A `Trainer` for a REET model whose examples are records.

    Args:
        head_learning_rate: Learning rate of everything outside the backbone; `args.learning_rate` is the backbone's.
    """

    def __init__(self, *args: Any, head_learning_rate: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.args.remove_unused_columns = False  # examples are records, not columns
        self.model_accepts_loss_kwargs = False  # the loss is a mean: accumulation must divide it
        self.head_learning_rate = head_learning_rate

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with the backbone and the rest as two parameter groups."""
        trained: Any = self.model
        named = [(name, p) for name, p in trained.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for name, p in named if name.startswith("reet.")], "lr": self.args.learning_rate},
            {"params": [p for name, p in named if not name.startswith("reet.")], "lr": self.head_learning_rate},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.args.weight_decay)
        self.optimizer = optimizer
        return optimizer


class ScoringTrainer(ReetTrainer):
    """A `Trainer` for `ReetForTokenScoring` and its subclasses.

    Args:
        teacher: A larger trained scorer whose states and logits are targets as well.
        distillation: Weight of `distillation_loss` beside the loss of the labels.
    """

    def __init__(self, *args: Any, teacher: Any = None, distillation: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = teacher.eval().to(self.args.device) if teacher is not None else None
        self.distillation = distillation

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of the labels, and with a teacher that of the distance to it."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        if self.teacher is not None:
            with torch.no_grad():
                wanted = self.teacher(**inputs)
            loss = loss + self.distillation * distillation_loss(outputs, wanted, inputs)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """The loss, and `kept_evidence` both as prediction and as label: nothing ragged is gathered."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = model(**inputs)
        loss = outputs.loss.detach()
        if prediction_loss_only:
            return loss, None, None
        kept = kept_evidence(outputs.importance, inputs["relevance_labels"], inputs["token_units"])
        return loss, kept, kept
