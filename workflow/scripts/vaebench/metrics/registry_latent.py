"""Registered metrics of the latent space: posterior, codebook, probes, disentanglement, likelihood."""

from typing import Any

from vaebench.metrics.metric import BERNOULLI, CODEBOOK, DISTRIBUTION, FACTORS, GAUSSIAN, LABELS, VQ, Metric


def latent() -> list[Metric]:
    """Metrics of the posterior, of the codebook, and of what the latent mean tells about the labels."""

    def metric(name: str, label: str, symbol: str, unit: str, better: bool | None, *rest: str, **flags: Any) -> Metric:
        values, formula, applies_to = rest
        return Metric(name, label, symbol, unit, better, "latent", values, formula, applies_to, **flags)

    kl = "Σ_dims -½ (1 + ln σ² - μ² - σ²) between q(z|x) = N(μ, σ²) and N(0, I)"
    auc = "area under the ROC curve of a ridge classifier on the latent mean, fitted on train, scored on held-out"
    split = "fitted on 2/3 of the held-out images (at most 10,000), scored on the others (at most 5,000)"
    gap = "gap in accuracy between the two dimensions that a linear SVM (C = 0.01) reads best"
    fit = "gradient boosted trees on the latent mean, one classifier per factor"
    return [
        metric(
            "rate",
            "rate",
            r"R",
            "nats/image",
            None,
            "(-∞, ∞)",
            "KL(q(z|x) ‖ p(z)): closed for Gaussian and von Mises-Fisher posteriors, else an estimate, the mean over "
            "evaluation.elbo_draws draws of ln q(z|x) - ln p(z); VQ: -ln p(codes) under the prior that draws the "
            "codes, fitted to the training images' when sampling; the note says which",
            DISTRIBUTION,
            headline=True,
            per_image=True,
        ),
        metric("rate_bits", "rate", r"R", "bits/image", None, "(-∞, ∞)", "rate / ln 2", DISTRIBUTION),
        metric("kl", "KL", r"\mathrm{KL}", "nats/image", None, "[0, ∞)", kl, GAUSSIAN, per_image=True),
        metric(
            "active_units",
            "active units",
            r"\mathrm{AU}",
            "dims",
            None,
            "{0, ..., L}",
            "number of latent dimensions with Var_x(μ) > 0.01",
            GAUSSIAN,
            headline=True,
        ),
        metric(
            "kl_per_dim",
            "KL per dimension",
            r"\mathrm{KL}/L",
            "nats/dim",
            None,
            "[0, ∞)",
            "mean over dimensions of the mean KL of the dimension; the vector is in latent.npz",
            GAUSSIAN,
        ),
        metric(
            "posterior_collapse",
            "posterior collapse",
            r"\mathrm{PC}",
            "",
            False,
            "{0, 1}",
            "1 when fewer than one latent dimension in ten is active",
            GAUSSIAN,
        ),
        metric(
            "aggregate_mean",
            "aggregate posterior mean",
            r"|\bar\mu|",
            "",
            None,
            "[0, ∞)",
            "mean over dimensions of |E_x μ|; 0 for the prior",
            "models with a vector latent",
        ),
        metric(
            "aggregate_variance",
            "aggregate posterior variance",
            r"\bar\sigma^2",
            "",
            None,
            "[0, ∞)",
            "mean over dimensions of Var_x(μ) + E_x σ²; 1 for the prior",
            "models with a vector latent",
        ),
        metric(
            "vq_commitment",
            "commitment",
            r"\|z_e - e\|^2",
            "",
            None,
            "[0, ∞)",
            "Σ ‖z_e - e‖² over the code grid of one image",
            CODEBOOK,
            per_image=True,
        ),
        metric(
            "codebook_perplexity",
            "codebook perplexity",
            r"\exp H(e)",
            "codes",
            None,
            "[1, K]",
            "exp of the entropy of code use over all positions of all images; of several levels the geometric mean",
            VQ,
            headline=True,
        ),
        metric(
            "codes_used",
            "codes used",
            r"K_+",
            "codes",
            None,
            "{1, ..., K}",
            "number of distinct codes used, of all levels",
            VQ,
        ),
        metric("probe_auc", "probe AUC", r"\mathrm{AUC}", "", True, "[0, 1]", auc, LABELS),
        metric(
            "probe_balanced_accuracy",
            "probe balanced accuracy",
            r"\mathrm{BA}",
            "",
            True,
            "[0, 1]",
            "mean of sensitivity and specificity of the same classifier at threshold 0",
            LABELS,
        ),
        metric(
            "mig",
            "MIG",
            r"\mathrm{MIG}",
            "",
            True,
            "[0, 1]",
            "mutual information gap: mean over factors of (I_1 - I_2) / H(factor), μ in 20 bins",
            FACTORS,
        ),
        metric(
            "sap",
            "SAP",
            r"\mathrm{SAP}",
            "",
            True,
            "[0, 1]",
            f"mean over factors of the {gap}; {split}",
            FACTORS,
        ),
        metric(
            "dci_disentanglement",
            "DCI disentanglement",
            r"\mathrm{DCI}_D",
            "",
            True,
            "[0, 1]",
            f"1 - entropy over factors of each dimension's importance, weighted by importance; {fit}",
            FACTORS,
        ),
        metric(
            "dci_completeness",
            "DCI completeness",
            r"\mathrm{DCI}_C",
            "",
            True,
            "[0, 1]",
            f"1 - entropy over dimensions of each factor's importance, weighted by importance; {fit}",
            FACTORS,
        ),
        metric(
            "dci_informativeness",
            "DCI informativeness",
            r"\mathrm{DCI}_I",
            "",
            True,
            "[0, 1]",
            f"mean accuracy over factors; {fit}, {split}",
            FACTORS,
        ),
        metric(
            "factor_vae_score",
            "FactorVAE score",
            r"\mathrm{FVAE}",
            "",
            True,
            "[0, 1]",
            f"accuracy of the majority vote from the dimension that varies least to the factor held fixed; {split}",
            FACTORS,
        ),
    ]


def likelihood() -> list[Metric]:
    """Metrics of the marginal likelihood by importance sampling."""
    bound = "ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k from q(z|x)"
    return [
        Metric(
            "log_likelihood_gaussian",
            "importance-weighted bound (Gaussian density)",
            r"\log \hat p_\mathrm{N}(x)",
            "nats/image",
            True,
            "likelihood",
            "(-∞, ∞)",
            f"{bound}, of the density p(x|z) = N(x̂(z), I) with its constant -½ D ln 2π",
            GAUSSIAN,
            headline=True,
            per_image=True,
        ),
        Metric(
            "log_likelihood_bernoulli",
            "importance-weighted bound (Bernoulli mass)",
            r"\log \hat P_\mathrm{B}(x)",
            "nats/image",
            True,
            "likelihood",
            "(-∞, 0]",
            f"{bound}, of the probability mass Π x̂(z)^x (1-x̂(z))^(1-x)",
            f"Gaussian posteriors of {BERNOULLI}",
            headline=True,
            per_image=True,
        ),
        *(
            Metric(
                f"log_likelihood_{kind}",
                f"importance-weighted bound (own {kind})",
                symbol,
                "nats/image",
                True,
                "likelihood",
                values,
                f"{bound}, of the {what} of the model's own likelihood, with every constant",
                f"Gaussian posteriors of models with a {kind} of their own",
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
            "effective importance samples",
            r"\mathrm{ESS}",
            "samples",
            None,
            "likelihood",
            "[1, K]",
            "(Σ w)² / Σ w² of the importance weights, of the model's own likelihood where there is one",
            GAUSSIAN,
            per_image=True,
        ),
    ]
