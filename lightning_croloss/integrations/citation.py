"""What to cite, for the cards that frameworks write."""

CITATION = """@inproceedings{tang2022croloss,
    title = {CROLoss: Towards a Customizable Loss for Retrieval Models in Recommender Systems},
    author = {Tang, Yongxiang and Bai, Wentao and Li, Guilin and Liu, Xialong and Zhang, Yu},
    booktitle = {Proceedings of the 31st ACM Conference on Information and Knowledge Management},
    year = {2022},
    doi = {10.1145/3511808.3557274},
}"""
