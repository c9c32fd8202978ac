import tensorflow as tf

from keras_retinanet.system.replicas import num_replicas, sum_over_replicas


def test_outside_of_a_strategy_nothing_is_summed():
    assert num_replicas() == 1
    assert sum_over_replicas(tf.constant(3.0)) == 3.0


def test_in_cross_replica_code_nothing_is_summed(two_replicas):
    with two_replicas.scope():
        assert num_replicas() == 1
        assert sum_over_replicas(tf.constant(3.0)) == 3.0


def test_every_replica_gets_the_sum(two_replicas):
    values = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant([1.0, 10.0][context.replica_id_in_sync_group])
    )

    @tf.function
    def step():
        def replica(value):
            return sum_over_replicas(value), tf.constant(num_replicas())

        return two_replicas.run(replica, args=(values,))

    sums, counts = step()
    assert [float(v) for v in two_replicas.experimental_local_results(sums)] == [11.0, 11.0]
    assert [int(n) for n in two_replicas.experimental_local_results(counts)] == [2, 2]
