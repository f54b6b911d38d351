"""The settings of ``VPROC_AUTH=cognito``: the user pool, its app client, and its own log-in pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

PLACEHOLDERS = {
    "cognito_user_pool_id": "us-east-1_notset",
    "cognito_client_id": "notset",
    "cognito_redirect_url": "https://not.set/auth/callback",
}
CALLBACK = "/auth/callback"


class CognitoSettings(BaseSettings):
    """Part of `settings.Settings`."""

    cognito_user_pool_id: Annotated[
        str | None,
        Field(validation_alias=AliasChoices("VPROC_COGNITO_USER_POOL_ID"), pattern=r"^[a-z]{2}(-[a-z]+)+-\d_\w{1,45}$"),
    ] = None
    cognito_client_id: Annotated[
        str | None, Field(validation_alias=AliasChoices("VPROC_COGNITO_CLIENT_ID"), pattern=r"^[\w+]{1,128}$")
    ] = None
    cognito_client_secret: Annotated[
        SecretStr | None, Field(validation_alias=AliasChoices("VPROC_COGNITO_CLIENT_SECRET"), min_length=24, max_length=64)
    ] = None
    cognito_domain: Annotated[str | None, Field(validation_alias=AliasChoices("VPROC_COGNITO_DOMAIN"))] = None
    cognito_redirect_url: Annotated[str | None, Field(validation_alias=AliasChoices("VPROC_COGNITO_REDIRECT_URL"))] = None

    @field_validator("cognito_redirect_url")
    @classmethod
    def _comes_back_here(cls, value: str | None) -> str | None:
        if value is not None and (not value.endswith(CALLBACK) or "?" in value):
            raise ValueError(f"takes this API's address as browsers reach it, with {CALLBACK} at its end")
        return value

    def check_cognito(self) -> None:
        """Raise `ValueError` where something is missing that the others need."""
        for variable, value in (
            ("VPROC_COGNITO_USER_POOL_ID", self.cognito_user_pool_id),
            ("VPROC_COGNITO_CLIENT_ID", self.cognito_client_id),
        ):
            if value is None:
                raise ValueError(f"{variable}: not set, and required by VPROC_AUTH=cognito")
        if self.cognito_domain is not None and self.cognito_redirect_url is None:
            raise ValueError(
                "VPROC_COGNITO_REDIRECT_URL: not set, and required by VPROC_COGNITO_DOMAIN: "
                f"takes this API's address as browsers reach it, with {CALLBACK} at its end"
            )
