"""Registered metrics of the latent space: posterior, codebook, probes, disentanglement, likelihood."""

from functools import partial

from vaebench.metrics.metric import BERNOULLI, CODEBOOK, DISTRIBUTION, FACTORS, GAUSSIAN, LABELS, VQ, Metric


def latent() -> list[Metric]:
    """Metrics of the posterior, of the codebook, and of what the latent mean tells about the labels."""

    metric = partial(Metric, suite="latent")
    kl = "Σ_dims -½ (1 + ln σ² - μ² - σ²) between q(z|x) = N(μ, σ²) and N(0, I)"
    auc = "area under the ROC curve of a ridge classifier on the latent mean, fitted on train, scored on held-out"
    split = "fitted on 2/3 of the held-out images (at most 10,000), scored on the others (at most 5,000)"
    gap = "gap in accuracy between the two dimensions that a linear SVM (C = 0.01) reads best"
    fit = "gradient boosted trees on the latent mean, one classifier per factor"
    return [
        metric(
            "rate",
            label="rate",
            symbol=r"R",
            unit="nats/image",
            higher_is_better=None,
            range="(-∞, ∞)",
            formula="KL(q(z|x) ‖ p(z)): closed for Gaussian and von Mises-Fisher posteriors, else an estimate, the "
            "mean over evaluation.elbo_draws draws of ln q(z|x) - ln p(z); VQ: -ln p(codes) under the prior that draws "
            "the codes, fitted to the training images' when sampling; the note says which",
            applies_to=DISTRIBUTION,
            headline=True,
            per_image=True,
        ),
        metric(
            "rate_bits",
            label="rate",
            symbol=r"R",
            unit="bits/image",
            higher_is_better=None,
            range="(-∞, ∞)",
            formula="rate / ln 2",
            applies_to=DISTRIBUTION,
        ),
        metric(
            "kl",
            label="KL",
            symbol=r"\mathrm{KL}",
            unit="nats/image",
            higher_is_better=None,
            range="[0, ∞)",
            formula=kl,
            applies_to=GAUSSIAN,
            per_image=True,
        ),
        metric(
            "active_units",
            label="active units",
            symbol=r"\mathrm{AU}",
            unit="dims",
            higher_is_better=None,
            range="{0, ..., L}",
            formula="number of latent dimensions with Var_x(μ) > 0.01",
            applies_to=GAUSSIAN,
            headline=True,
        ),
        metric(
            "kl_per_dim",
            label="KL per dimension",
            symbol=r"\mathrm{KL}/L",
            unit="nats/dim",
            higher_is_better=None,
            range="[0, ∞)",
            formula="mean over dimensions of the mean KL of the dimension; the vector is in latent.npz",
            applies_to=GAUSSIAN,
        ),
        metric(
            "posterior_collapse",
            label="posterior collapse",
            symbol=r"\mathrm{PC}",
            unit="",
            higher_is_better=False,
            range="{0, 1}",
            formula="1 when fewer than one latent dimension in ten is active",
            applies_to=GAUSSIAN,
        ),
        metric(
            "aggregate_mean",
            label="aggregate posterior mean",
            symbol=r"|\bar\mu|",
            unit="",
            higher_is_better=None,
            range="[0, ∞)",
            formula="mean over dimensions of |E_x μ|; 0 for the prior",
            applies_to="models with a vector latent",
        ),
        metric(
            "aggregate_variance",
            label="aggregate posterior variance",
            symbol=r"\bar\sigma^2",
            unit="",
            higher_is_better=None,
            range="[0, ∞)",
            formula="mean over dimensions of Var_x(μ) + E_x σ²; 1 for the prior; Var_x alone, of the modes, for "
            "posteriors that are no Gaussian beside the prior N(0, I), as the note says",
            applies_to="models with a vector latent",
        ),
        metric(
            "vq_commitment",
            label="commitment",
            symbol=r"\|z_e - e\|^2",
            unit="",
            higher_is_better=None,
            range="[0, ∞)",
            formula="Σ ‖z_e - e‖² over the code grid of one image",
            applies_to=CODEBOOK,
            per_image=True,
        ),
        metric(
            "codebook_perplexity",
            label="codebook perplexity",
            symbol=r"\exp H(e)",
            unit="codes",
            higher_is_better=None,
            range="[1, K]",
            formula="exp of the entropy of code use over all positions of all images; of several levels the geometric "
            "mean",
            applies_to=VQ,
            headline=True,
        ),
        metric(
            "codes_used",
            label="codes used",
            symbol=r"K_+",
            unit="codes",
            higher_is_better=None,
            range="{1, ..., K}, of L levels to L K",
            formula="number of distinct codes used, of all levels",
            applies_to=VQ,
        ),
        metric(
            "probe_auc",
            label="probe AUC",
            symbol=r"\mathrm{AUC}",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula=auc,
            applies_to=LABELS,
        ),
        metric(
            "probe_balanced_accuracy",
            label="probe balanced accuracy",
            symbol=r"\mathrm{BA}",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula="mean of sensitivity and specificity of the same classifier at threshold 0",
            applies_to=LABELS,
        ),
        metric(
            "mig",
            label="MIG",
            symbol=r"\mathrm{MIG}",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula="mutual information gap: mean over factors of (I_1 - I_2) / H(factor), μ in 20 bins",
            applies_to=FACTORS,
        ),
        metric(
            "sap",
            label="SAP",
            symbol=r"\mathrm{SAP}",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula=f"mean over factors of the {gap}; {split}",
            applies_to=FACTORS,
        ),
        metric(
            "dci_disentanglement",
            label="DCI disentanglement",
            symbol=r"\mathrm{DCI}_D",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula=f"1 - entropy over factors of each dimension's importance, weighted by importance; {fit}",
            applies_to=FACTORS,
        ),
        metric(
            "dci_completeness",
            label="DCI completeness",
            symbol=r"\mathrm{DCI}_C",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula=f"1 - entropy over dimensions of each factor's importance, weighted by importance; {fit}",
            applies_to=FACTORS,
        ),
        metric(
            "dci_informativeness",
            label="DCI informativeness",
            symbol=r"\mathrm{DCI}_I",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula=f"mean accuracy over factors; {fit}, {split}",
            applies_to=FACTORS,
        ),
        metric(
            "factor_vae_score",
            label="FactorVAE score",
            symbol=r"\mathrm{FVAE}",
            unit="",
            higher_is_better=True,
            range="[0, 1]",
            formula=f"accuracy of the majority vote from the dimension that varies least to the factor held fixed; "
            f"{split}",
            applies_to=FACTORS,
        ),
    ]


def likelihood() -> list[Metric]:
    """Metrics of the marginal likelihood by importance sampling."""
    bound = "ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k from q(z|x)"
    return [
        Metric(
            "log_likelihood_gaussian",
            label="importance-weighted bound (Gaussian density)",
            symbol=r"\log \hat p_\mathrm{N}(x)",
            unit="nats/image",
            higher_is_better=True,
            suite="likelihood",
            range="(-∞, ∞)",
            formula=f"{bound}, of the density p(x|z) = N(x̂(z), I) with its constant -½ D ln 2π",
            applies_to=GAUSSIAN,
            headline=True,
            per_image=True,
        ),
        Metric(
            "log_likelihood_bernoulli",
            label="importance-weighted bound (Bernoulli mass)",
            symbol=r"\log \hat P_\mathrm{B}(x)",
            unit="nats/image",
            higher_is_better=True,
            suite="likelihood",
            range="(-∞, 0]",
            formula=f"{bound}, of the probability mass Π x̂(z)^x (1-x̂(z))^(1-x)",
            applies_to=f"Gaussian posteriors of {BERNOULLI}",
            headline=True,
            per_image=True,
        ),
        *(
            Metric(
                f"log_likelihood_{kind}",
                label=f"importance-weighted bound (own {kind})",
                symbol=symbol,
                unit="nats/image",
                higher_is_better=True,
                suite="likelihood",
                range=values,
                formula=f"{bound}, of the {what} of the model's own likelihood, with every constant",
                applies_to=f"Gaussian posteriors of models with a {kind} of their own",
                headline=True,
                per_image=True,
            )
            for kind, symbol, values, what in (
                ("density", r"\log \hat p(x)", "(-∞, ∞)", "density p(x|z)"),
                ("mass", r"\log \hat P(x)", "(-∞, 0]", "mass P(x|z) of each of 256 levels"),
            )
        ),
        Metric(
            "effective_samples",
            label="effective importance samples",
            symbol=r"\mathrm{ESS}",
            unit="samples",
            higher_is_better=None,
            suite="likelihood",
            range="[1, K]",
            formula="(Σ w)² / Σ w² of the importance weights, of the model's own likelihood where there is one",
            applies_to=GAUSSIAN,
            per_image=True,
        ),
    ]
