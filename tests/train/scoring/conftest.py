import pytest

CLASSES = ["good", "bad"]
PAIR = ("text", "text_pair")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of SavedModels by kind; each answers by the lengths of its texts.

    None takes a text with "explode" in it, and `many` has the tasks `topic`, of two classes,
    `stars`, a regression, and `tone`, of three.
    """
    import tensorflow as tf

    def save(name, function, *columns, **others):
        folder = tmp_path_factory.mktemp("models") / name
        module = tf.Module()
        module.f = tf.function(
            function, [tf.TensorSpec([None], tf.string, name=column) for column in columns]
        )
        signatures = {"serving_default": module.f}
        for other, own in others.items():
            setattr(module, other, tf.function(own, []))
            signatures[other] = getattr(module, other)
        tf.saved_model.save(module, folder, signatures)
        return str(folder)

    def length(*texts):
        for text in texts:
            harmful = tf.strings.regex_full_match(text, "(?s).*explode.*")
            tf.debugging.assert_equal(tf.reduce_any(harmful), False, "a harmful text")
        return tf.cast(tf.add_n([tf.strings.length(t, "UTF8_CHAR") for t in texts]), tf.float32)

    def classify(*texts):
        bad = tf.minimum(length(*texts) / 100, 1)
        probabilities = tf.stack([1 - bad, bad], axis=1)
        return {
            "label": tf.gather(tf.constant(CLASSES), tf.argmax(probabilities, 1)),
            "probabilities": probabilities,
            "labels": tf.tile(tf.constant([CLASSES]), [tf.size(texts[0]), 1]),
        }

    def answer(question, context):
        size = length(question)
        return {
            "answer": tf.strings.substr(context, 0, 2, unit="UTF8_CHAR"),
            "start": tf.zeros_like(size, tf.int32),
            "end": tf.ones_like(size, tf.int32) * 2,
            "score": size,
            "null_score": length(context),
        }

    names = tf.constant(["topic", "stars", "tone"])

    def of_many(text, text_pair, task):
        known = tf.reduce_any(task[:, tf.newaxis] == names[tf.newaxis])
        tf.debugging.assert_equal(known | (tf.size(task) == 0), True, "an unknown task")
        size = length(text, text_pair)
        bad = tf.minimum(size / 100, 1)
        is_value = task == "stars"
        third = tf.where(task == "tone", 0.125, 0.0)
        probabilities = tf.stack([1 - bad - third, bad, third], axis=1)
        probabilities = tf.where(is_value[:, tf.newaxis], 0.0, probabilities)
        labels = tf.stack(
            [
                tf.where(is_value, "", "good"),
                tf.where(is_value, "", "bad"),
                tf.where(task == "tone", "neither", ""),
            ],
            axis=1,
        )
        best = tf.gather(labels, tf.argmax(probabilities, 1), batch_dims=1)
        value = tf.where(is_value, size, float("nan"))
        return {"label": best, "probabilities": probabilities, "labels": labels, "value": value}

    return {
        "text": save("text", lambda text: classify(text), "text"),
        "pair": save(
            "pair", lambda text, text_pair: classify(text, text_pair), "text", "text_pair"
        ),
        "value": save("value", lambda text: {"value": length(text)}, "text"),
        "squad": save("squad", answer, "question", "context"),
        "other": save("other", lambda x: {"y": x}, "x"),
        "many": save("many", of_many, *PAIR, "task", tasks=lambda: {"task": tf.identity(names)}),
    }
