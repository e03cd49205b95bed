"""Compare variational autoencoders under one protocol: from an image archive to tables, figures and a report."""
