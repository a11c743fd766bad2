"""Several developers at one server: who they are, what each may call, how much at once. Touches the store and HTTP's requests.

`users` keeps them, `access` says which route is whose, `gate` stands before the routes on TCP, `scope` keeps their records
apart, `limits` counts. The Unix socket's folder is its owner's alone: whoever comes through it is the operator.
"""
