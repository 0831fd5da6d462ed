"""The commands: where each one lives and one line about it. Nothing is imported until a command is called."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "service.cli.demo:demo",
        "Start everything, sample and score 16 molecules, write them to out/, stop.",
    ),
    "serve": ("service.cli.serve:serve", "Start the service: API, workers and the embedded job store."),
    "sample": ("service.cli.run:sample", "Generate molecules."),
    "score": ("service.cli.run:score", "Compute the log-likelihood of molecules under a model."),
    "run": ("service.cli.run:run", "Ask a model for anything else that it can do: predict, encode, ..."),
    "convert": ("service.cli.run:convert", "Convert molecules between SDF, XYZ and SMILES."),
    "validate": ("service.cli.run:validate", "Say of each molecule whether it is valid, and if not, why."),
    "models": ("service.cli.models:models", "List the models, or show one."),
    "jobs list": ("service.cli.jobs:list_jobs", "List jobs, newest first."),
    "jobs show": ("service.cli.jobs:show", "Show one job."),
    "jobs watch": ("service.cli.jobs:watch", "Follow a job until it ends."),
    "jobs save": ("service.cli.jobs:save", "Download a job's molecules."),
    "jobs cancel": ("service.cli.jobs:cancel", "Cancel a job and keep what is finished."),
    "jobs delete": ("service.cli.jobs:delete", "Delete a job and its files."),
    "replay": ("service.cli.replay:replay", "Run a job again from its manifest and compare the results."),
    "keys create": ("service.cli.keys:create", "Create an API key; it is shown once."),
    "keys list": ("service.cli.keys:list_keys", "List the API keys (never the keys themselves)."),
    "keys revoke": ("service.cli.keys:revoke", "Revoke an API key at once."),
    "api": ("service.cli.api:api", "Run the HTTP API alone, for deployments with several machines."),
    "worker": ("workers.commands:worker", "Run a worker alone, for deployments with several machines."),
    "train": ("models.training.command:train", "Train a model from a recipe."),
    "evaluate": (
        "models.training.evaluations.command:evaluate",
        "Measure a model and write the metrics into its card.",
    ),
    "reference": (
        "workers.reference:reference",
        "Score held-out molecules, so that the model's scores get percentiles.",
    ),
    "import": (
        "workers.importing:import_model",
        "Convert a published checkpoint into a model that the service offers.",
    ),
    "data import": ("chemistry.commands:data_import", "Make a data set from your own SDF file."),
}

GROUPS: dict[str, str] = {
    "jobs": "Look at jobs, cancel and delete them.",
    "keys": "Manage the API keys of this machine's service.",
    "data": "Prepare data sets for training.",
}

PANELS: dict[str, tuple[str, ...]] = {
    "Start here": ("demo", "serve"),
    "Use a service": ("sample", "score", "run", "convert", "validate", "models", "jobs", "replay"),
    "Run a service": ("keys", "api", "worker"),
    "Make models": ("train", "evaluate", "reference", "import", "data"),
}
