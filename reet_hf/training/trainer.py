"""Trainers of the scorer and the extractor: a learning rate for each part; evaluation of the scorer keeps one number a
query.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer

from .adapters import PREFIX
from .distillation import distillation_loss
from .metrics import kept_evidence


class ReetTrainer(Trainer):
    """A `Trainer` for a REET model whose examples are records.

    Args:
        head_learning_rate: Learning rate of everything outside the backbone; `args.learning_rate` is the backbone's.
        extractor_learning_rate: Of the extraction head, if another.
    """

    def __init__(
        self, *args: Any, head_learning_rate: float, extractor_learning_rate: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.args.remove_unused_columns = False  # examples are records, not columns
        self.model_accepts_loss_kwargs = False  # the loss is a mean: accumulation must divide it
        self.rates = {"reet": self.args.learning_rate, "extractor": extractor_learning_rate or head_learning_rate}
        self.head_learning_rate = head_learning_rate

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with the backbone and the heads as parameter groups."""
        trained: Any = self.model
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in trained.named_parameters():
            if parameter.requires_grad:
                rate = self.rates.get(name.removeprefix(PREFIX).partition(".")[0], self.head_learning_rate)
                groups.setdefault(rate, []).append(parameter)
        settings = [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
        optimizer = torch.optim.AdamW(settings, weight_decay=self.args.weight_decay)
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
