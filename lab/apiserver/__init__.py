"""A Kubernetes API server in one process, for laptops and tests: `python -m lab.apiserver --help`.

Real kubectl and the Python clients work against it. README.md says what it imitates, what not, and which
module does what.
"""
