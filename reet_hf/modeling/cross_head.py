"""The cross-encoder formulation: `[CLS] earlier turns, query [SEP] context [SEP]`, read together for every query.

It is what late interaction is compared with. The encoder sees the query beside every token, so nothing but the prior
can be cached: each turn costs a pass over the whole conversation.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .configuration_reet import ReetConfig
from .turn_head import PriorHead, TokenIndex, TurnContext, TurnScores, segment


class CrossHead(PriorHead):
    """Prior of tokens read alone, importance of tokens read behind a query."""

    def __init__(self, config: ReetConfig) -> None:
        super().__init__(config)
        self.token_in = nn.Linear(config.width, config.unit_dim)
        self.token_out = nn.Linear(config.unit_dim, 1)
        self.unit_out = nn.Linear(config.unit_dim, 1)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Everything begins near zero."""
        for out, bias in ((self.token_out, -1.0), (self.prior_out, -1.0), (self.unit_out, 0.0)):
            nn.init.normal_(out.weight, std=0.02)
            nn.init.constant_(out.bias, bias)
        nn.init.zeros_(self.prior_features.weight)

    def index(self, token_states: torch.Tensor) -> TokenIndex:
        """What is cached: the prior; of the states nothing is read again."""
        nothing = token_states.new_zeros(len(token_states), 0)
        return TokenIndex(nothing, nothing, self.blind(token_states))

    def forward(self, index: TokenIndex, context: TurnContext) -> TurnScores:
        """Scores of one conversation for the queries that `context.together` was read behind."""
        prior = self.prior(index.prior, context)
        lengths = torch.unique_consecutive(context.units, return_counts=True)[1]
        places = torch.repeat_interleave(lengths)
        columns = [prior.new_zeros(len(prior), 0)]
        for states in context.together:
            hidden = self.dropout(functional.gelu(self.token_in(states)))
            unit = self.unit_out(segment(hidden, lengths, "mean"))
            columns.append(self.token_out(hidden) + unit[places])
        return TurnScores(prior, torch.cat(columns, -1))
