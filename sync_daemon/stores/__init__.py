"""Object stores: each adapter turns one kind of storage into `ports.ObjectStore`.

The adapters know nothing of one another; what they must all do is written down in the
port and proven by one contract suite, `tests/stores/test_contract.py`.
"""
