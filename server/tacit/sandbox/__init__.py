"""What runs code that nobody vouches for is here: the server's covering tests, the learner's and the benches' programs."""
