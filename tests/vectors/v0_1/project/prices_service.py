"""A Service whose custom Runnable was packed by release 0.1.0."""

import numpy as np
from prices_rates import with_rate

import vtsserving
from vtsserving.io import JSON, NumpyNdarray

iris = vtsserving.models.get("iris:production")


class Pricer(vtsserving.Runnable):
    """Prices rows by the class that a saved model gives them."""

    SUPPORTED_RESOURCES = ("cpu",)
    SUPPORTS_CPU_MULTI_THREADING = False

    def __init__(self, rate, model, kept, error, signature, options):
        self.rate = rate
        self.kept = kept
        self.error = error
        self.signature = signature
        self.options = options
        self.model = vtsserving.sklearn.load_model(model)

    @vtsserving.Runnable.method(batchable=True)
    def price(self, rows):
        """One price for each row."""
        return with_rate(self.model.predict(rows), self.rate)

    @vtsserving.Runnable.method
    def about(self):
        """What the class was constructed with."""
        return [str(self.kept), self.error.code, self.signature.batchable, self.options.max_batch_size]


pricer = vtsserving.Runner(
    Pricer,
    name="pricer",
    runnable_init_params={
        "rate": 1.25,
        "model": iris,
        "kept": vtsserving.Tag("kept", "one"),
        "error": vtsserving.exceptions.ModelNotFound,
        "signature": vtsserving.ModelSignature(True, (0, 0)),
        "options": vtsserving.ModelOptions(max_batch_size=8),
    },
    models=[iris],
    max_batch_size=16,
)
svc = vtsserving.Service("prices", runners=[pricer])


@svc.api(input=NumpyNdarray(), output=JSON())
async def quote(rows):
    """Prices of rows."""
    return (await pricer.price.async_run(np.asarray(rows))).tolist()


@svc.api(input=JSON(), output=JSON())
async def about(_):
    """What the packed class says of itself."""
    return await pricer.about.async_run()
