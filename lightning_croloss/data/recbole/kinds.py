"""RecBole's types of columns as kinds of features."""

#: The kinds that RecBole's types are unless the user says otherwise.
KIND_OF_TYPE = {"token": "categorical", "token_seq": "multi", "float": "numeric"}
