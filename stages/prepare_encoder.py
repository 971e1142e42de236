"""Fetch the encoder and check that fishpal can use it."""

from __future__ import annotations

from fishpal.common.errors import EncoderError
from fishpal.common.files import replacing
from fishpal.encoders.encoder import load_encoder
from fishpal.encoders.pooling import FILE, EncoderCard
from fishpal.encoders.tokenizer import load_tokenizer
from fishpal.params.load import Params
from fishpal.sources.encoder_files import fetch_encoder
from stages.runner import ARTIFACTS, run


def main(params: Params) -> None:
    with replacing(ARTIFACTS.encoder) as draft:
        draft.mkdir()
        fetch_encoder(params.encoder.source, draft)
        try:
            load_encoder(draft, params.encoder.pooling)
            load_tokenizer(draft)
        except EncoderError as error:  # which names a folder that is gone when this is read
            raise EncoderError(str(error).replace(str(draft), "encoder.source")) from error
        EncoderCard(params.encoder.pooling).save(draft / FILE)


if __name__ == "__main__":
    run(main)
