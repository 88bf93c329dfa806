"""getPhoneNumber: a phone code for the number. No HTTP here."""

from __future__ import annotations

from wechat_sandbox.access_tokens import AccessTokens
from wechat_sandbox.answers import Outcome, ok_body
from wechat_sandbox.one_time_codes import OneTimeCodes, Phone
from wechat_sandbox.question import Question

PATH = "/wxa/business/getuserphonenumber"


def phone_fields(phone: Phone) -> dict[str, object]:
    """The three fields as client data has them: the country code is a text there.

    Ours: a number abroad is written with + and its country code in `phoneNumber`.
    """
    abroad = phone.country_code != "86"
    return {
        "phoneNumber": f"+{phone.country_code}{phone.number}" if abroad else phone.number,
        "purePhoneNumber": phone.number,
        "countryCode": phone.country_code,
    }


class GetPhoneNumber:
    """`POST /wxa/business/getuserphonenumber?access_token=` with the code in its JSON body."""

    def __init__(self, tokens: AccessTokens, codes: OneTimeCodes) -> None:
        self._tokens = tokens
        self._codes = codes

    def answer(self, question: Question) -> Outcome:
        now = question.now
        errcode, app_id = self._tokens.check(question.query.get("access_token", ""), now)
        if errcode or app_id is None:
            return Outcome(errcode, app_id)
        asked = question.json()
        if asked is None:
            return Outcome(47001, app_id)
        text = asked.get("code")
        if not isinstance(text, str) or not text:
            return Outcome(41008, app_id)
        code = self._codes.find(text, app_id, now)
        if code is None or code.phone is None:
            return Outcome(40029, app_id)
        if code.used:
            return Outcome(40163, app_id, code.user)
        code.used = True
        info = phone_fields(code.phone) | {
            # Documented as a text and sent as a number.
            "countryCode": int(code.phone.country_code),
            "watermark": {"timestamp": int(now), "appid": app_id},
        }
        return Outcome(0, app_id, code.user, ok_body(phone_info=info))
