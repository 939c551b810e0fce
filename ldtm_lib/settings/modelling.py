"""Sections about windows, networks, training, backtests, the gate, models and the record of forecasts."""

from typing import Any, Literal, Self

from pydantic import (
    Field,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
    model_validator,
)

from ldtm_lib.settings.section import Fraction, Section, fingerprint

Backend = Literal["torch", "onnx", "tensorrt"]
WithoutActive = Literal["abstain", "candidate"]
Shadows = Literal["none", "candidate", "retired", "both"]
HorizonWeights = Literal["equal", "no_change"]
DegradationPolicy = Literal["keep", "retire"]

NUM_INPUTS = 11
"""Features of one bar: the inputs of every network."""
NUM_HORIZONS = 3
"""Next day, next Monday, one month: the outputs of every network."""
LONGEST_INDICATOR_BARS = 19
"""Bars that the longest indicator, MA-20, reads before a bar; with a shorter warm-up no window would be complete."""
LOWEST_LEVEL = 0.80
"""Lower level of the two intervals of a forecast."""
MIN_VOID_SESSIONS = 5
"""Sessions before a void that the database itself requires."""


class WindowConfig(Section, frozen=True):
    """The history that one input window holds."""

    window_sessions: int = Field(default=30, ge=2)
    """Length of one input window, in bars of the ticker."""
    warmup_bars: int = Field(default=250, ge=LONGEST_INDICATOR_BARS)
    """Bars before the window that its indicators may read. Wilder's RSI has an infinite memory: after 250 bars
    (13/14)^250 = 9e-9 of a move is left, less than float32 resolves."""


class ArchitectureConfig(Section, frozen=True):
    """The shape of one network. Changing any value raises the major version of the next promotion."""

    hidden: int = Field(default=128, ge=1)
    """Units of each LSTM layer."""
    num_layers: int = Field(default=2, ge=1)
    """LSTM layers."""
    head_hidden: int = Field(default=64, ge=1)
    """Units of the hidden layer in each horizon's head."""
    residual: bool = True
    """True if each head predicts the move from the last close of the window; an untrained head predicts no move. The
    networks of older versions of LDTM predict the price itself; they still load and replay."""

    @model_serializer(mode="wrap")
    def _without_later_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """All fields, but `residual` only if it is on: without it the dump, the fingerprint and the checkpoint files
        are the same as in versions without the field."""
        fields = handler(self)
        if not self.residual:
            del fields["residual"]
        return fields

    @computed_field
    @property
    def num_inputs(self) -> int:
        """Input features per bar."""
        return NUM_INPUTS

    @computed_field
    @property
    def num_horizons(self) -> int:
        """Horizons of one forecast."""
        return NUM_HORIZONS

    def fingerprint(self) -> str:
        """SHA-256 of the parameters, as hexadecimal digits."""
        return fingerprint(self)


class TrainingConfig(Section, frozen=True):
    """The fit of one network."""

    batch_size: int = Field(default=64, ge=1)
    """Windows per training step."""
    max_epochs: int = Field(default=30, ge=1)
    """Epochs after which training stops, whether or not the validation loss still improves. The learning rate falls to
    0 over them."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of AdamW at the start; a cosine brings it to 0."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay of AdamW."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation loss after which training stops."""
    validation_fraction: Fraction = 0.1
    """Share of the training rows, the newest ones, that is held out for early stopping."""
    horizon_weights: HorizonWeights = "no_change"
    """Weights of the horizons in the loss: `no_change` divides the errors of a horizon by the root mean squared error
    of forecasting no change on the training rows; `equal` takes them as they are, so that the
    one-month errors are most of the loss."""
    huber_delta: float = Field(default=1.0, gt=0)
    """Error from which on the loss grows linearly instead of quadratically, in units of the root mean squared error of
    forecasting no change on the training rows. A large value makes it the squared error."""
    max_target_move: float = Field(default=3.0, gt=0)
    """Largest move of a training target, in ranges of the window's closes per square root of a session; a larger one is
    clipped. 3.0 is more than in any ordinary window. It bounds the weight of windows in which the price hardly
    moved."""
    min_training_rows: int = Field(default=252, ge=1)
    """Training rows that a ticker needs; one with fewer is not trained. 252 is about a year."""
    seed: int = Field(default=0, ge=0)
    """Seed of initial weights and of the order of batches."""


class BaselineConfig(Section, frozen=True):
    """The plain models that are scored on the same rows as the networks."""

    ridge_penalties: tuple[PositiveFloat, ...] = Field(
        default=(0.01, 0.1, 1.0, 10.0, 100.0), min_length=1, strict=False
    )
    """Penalties of the ridge regression, per training row. The validation rows choose one for each horizon."""


class BacktestConfig(Section, frozen=True):
    """Walk-forward folds with expanding windows; the newest fold ends at the newest labelled session."""

    num_folds: int = Field(default=4, ge=1)
    """Folds of one backtest."""
    test_sessions: int = Field(default=126, ge=1)
    """Sessions that each fold is tested on. 126 is about half a year."""
    embargo_sessions: int = Field(default=0, ge=0)
    """Sessions left out between training and test rows, in addition to the purge of overlapping labels."""


class GateConfig(Section, frozen=True):
    """The rules that a candidate must pass to become active, and the additional rules of the strict gate."""

    min_direction_accuracy: Fraction = 0.52
    """Share of right directions that the backtest must reach."""
    max_price_error: float = Field(default=0.05, ge=0)
    """Largest mean absolute price error in the backtest, as a fraction of the price."""
    max_leakage_rows: int = Field(default=0, ge=0)
    """Rows with look-ahead that are tolerated."""
    min_folds: int = Field(default=2, ge=1)
    """Completed backtest folds that a candidate needs."""
    min_directional_calls: int = Field(default=100, ge=1)
    """Next-day forecasts of the backtest that must name a direction. The 95% interval of an accuracy over 100 calls
    reaches 10 points to either side; over fewer calls an accuracy of 52% says nothing."""
    min_call_coverage: Fraction = 0.20
    """Share of the backtest's rows whose next-day forecast must name a direction."""
    min_fold_sessions: int = Field(default=63, ge=1)
    """Test sessions that every fold needs. 63 are a quarter of a year, half of a fold by default: fewer sessions are
    within one phase of the market, so that two such folds would not be two trials."""
    min_lead_over_constant: float = Field(default=0.0, ge=-1, lt=1)
    """Lead over the better one of always saying up and always saying down that the direction accuracy must exceed."""
    comparison_significance: Fraction = 0.05
    """Significance level at which a candidate's next-day errors may not be larger than those of the active model on the
    test sessions that both share."""
    min_shared_sessions: int = Field(default=63, ge=2)
    """Test sessions that a candidate must share with the active model to be compared with it. With fewer, the candidate
    must pass the strict gate's rules to replace that model."""
    strict: bool = False
    """True if the statistical evidence must hold in addition to the other rules. It is shown in any case."""
    significance: Fraction = 0.05
    """Significance level of each test of the strict gate."""
    max_false_discovery_rate: Fraction = 0.10
    """Expected share of false discoveries among models trained on the same session that the strict gate passes."""


class RegistryConfig(Section, frozen=True):
    """The treatment of models that are not active any more, or whose record fell below the gate."""

    kept_retired_files: int = Field(default=5, ge=1)
    """Checkpoint files kept per ticker of its newest retired versions, besides those that a forecast refers to."""
    kept_candidate_files: int = Field(default=2, ge=1)
    """Checkpoint files kept per ticker of its newest candidates, besides those that a forecast refers to."""
    degradation_policy: DegradationPolicy = "keep"
    """Treatment of an active model whose live record fell significantly below the gate: `keep` warns in every daily
    run, `retire` retires it, and its ticker abstains until another model passes the gate."""
    degradation_significance: Fraction = 0.05
    """Probability that a model which meets the gate is ever found degraded, however long it is monitored."""


class ForecastConfig(Section, frozen=True):
    """The content of a daily forecast, and the treatment of a ticker without an active model."""

    neutral_band: float = Field(default=0.001, ge=0)
    """Relative price change up to which a forecast counts as neutral."""
    neutral_band_volatilities: float | None = Field(default=None, gt=0)
    """If set, the neutral band of each forecast is this multiple of the daily volatility inside its input window,
    instead of `neutral_band`: 0.1% is little for a leveraged fund and much for a utility."""
    without_active: WithoutActive = "abstain"
    """Forecast of a ticker without an active model: `abstain` records the reason instead of a forecast; `candidate`
    uses the newest candidate, labelled as such and in simulated rows only, as the demo does."""
    shadows: Shadows = "none"
    """Models whose forecasts are stored next to the record, where they never count: the newest candidate, the model
    that retired last, or both."""
    backend: Backend = "torch"
    """Backend of the networks of a daily run: PyTorch, or the exported ONNX files or TensorRT engines of the active
    models. PyTorch computes a network whose export is missing, outdated or refused; every row names its backend."""


class IntervalsConfig(Section, frozen=True):
    """The prediction intervals of a forecast, and the watch over their coverage. Their levels are 80% and 95%."""

    min_residuals: int = Field(default=100, ge=20)
    """Known outcomes of past forecasts that an interval needs; with fewer, the forecast of that horizon has none."""
    calibration_forecasts: int = Field(default=504, ge=20)
    """Newest known outcomes that an interval is computed from. 504 is about two years, or the four default folds."""
    rate: float = Field(default=0.01, ge=0, lt=1)
    """Step by which a miss widens the next intervals and a hit narrows them, per independent outcome. Outcomes of
    successive sessions overlap at later horizons, which use a part of it. With 0, misses do not change intervals."""
    breakdown_tolerance: Fraction = 0.05
    """Shortfall of coverage that is tolerated: the test is against 75% for the 80% interval and 90% for the 95% one."""
    breakdown_significance: Fraction = 0.05
    """Probability, per calendar year and over all tickers, that intervals which keep the tolerated coverage are ever
    reported as broken down, however often they are checked."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.calibration_forecasts < self.min_residuals:
            raise ValueError(
                f"calibration_forecasts is {self.calibration_forecasts} and min_residuals {self.min_residuals}: no "
                "interval would ever be made; raise calibration_forecasts"
            )
        if self.breakdown_tolerance >= LOWEST_LEVEL:
            raise ValueError(f"breakdown_tolerance is {self.breakdown_tolerance:g}; give less than {LOWEST_LEVEL:g}")
        return self


class LedgerConfig(Section, frozen=True):
    """The record of forecasts."""

    void_after_sessions: int = Field(default=10, ge=MIN_VOID_SESSIONS)
    """Sessions between the detection of a missing bar and the void of its actual. Only sessions for which the store
    has bars of any ticker count, so an outage of the source voids nothing."""
