"""The phone number that a user agreed to share: what getuserphonenumber answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wxauth_server.wechat.answers import Fields, Nonsense

# E.164: a country calling code of one to three digits, none of which begins with 0, and at most
# 15 digits in all. No subscriber's number anywhere has under four.
_COUNTRY_CODE = re.compile(r"[1-9][0-9]{0,2}")
_NATIONAL_NUMBER = re.compile(r"[0-9]{4,14}")
_MAX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """`e164` is the other two after a plus sign, at most 16 characters: "+8613580006666"."""

    e164: str = field(repr=False)
    country_code: str = field(repr=False)
    national_number: str = field(repr=False)


def read_phone_number(fields: Fields, app_id: str) -> PhoneNumber | Nonsense:
    """The number, if WeChat gave it to this app.

    countryCode is documented as a string and sent as a number. `phoneNumber`
    is not looked at: it has the country code for foreign numbers only.
    """
    info = fields.get("phone_info")
    if not isinstance(info, dict):
        return Nonsense("no phone_info")
    watermark = info.get("watermark")
    if not isinstance(watermark, dict) or watermark.get("appid") != app_id:
        return Nonsense("the watermark is not of our app")
    country_code, national_number = info.get("countryCode"), info.get("purePhoneNumber")
    if type(country_code) is int:
        country_code = str(country_code) if 0 < country_code < 1000 else ""
    if not isinstance(country_code, str) or not _COUNTRY_CODE.fullmatch(country_code):
        return Nonsense("no proper countryCode")
    if not isinstance(national_number, str) or not _NATIONAL_NUMBER.fullmatch(national_number):
        return Nonsense("no proper purePhoneNumber")
    if len(country_code) + len(national_number) > _MAX_DIGITS:
        return Nonsense("a longer number than E.164 allows")
    return PhoneNumber(f"+{country_code}{national_number}", country_code, national_number)
