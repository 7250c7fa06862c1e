"""The only settings file. Everything that differs between sites comes from the environment, see config/env.py."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from config.env import BadSetting, database_from_url, read_environment
from config.storages import bucket, origin

BASE_DIR = Path(__file__).resolve().parent.parent
with (BASE_DIR / "pyproject.toml").open("rb") as pyproject:
    VERSION: str = tomllib.load(pyproject)["project"]["version"]

env = read_environment(os.environ, BASE_DIR / ".env")

# -- Basics ----------------------------------------------------------------------------------------------------------
DEBUG = env.boolean("VERIFRAME_DEBUG", default=False, about="Tracebacks in the browser. Never on a public site.")
SECRET_KEY = env.secret(
    "VERIFRAME_SECRET_KEY",
    about="Signs sessions and links; 50 or more random characters, kept private. Required unless DEBUG is on.",
)
if not SECRET_KEY:
    if not DEBUG:
        raise BadSetting("VERIFRAME_SECRET_KEY", None, "expected 50 or more random characters")
    SECRET_KEY = "only-for-development-" + "x" * 40
# What an earlier key signed and sealed stays good, so that the key can be changed.
SECRET_KEY_FALLBACKS = env.secrets(
    "VERIFRAME_OLD_SECRET_KEYS",
    about="Secret keys of before, which still open sessions, links and stored secrets; see `manage.py reseal`.",
)
ALLOWED_HOSTS = env.words(
    "VERIFRAME_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", about="Host names that this site answers to."
)
HTTPS = env.boolean(
    "VERIFRAME_HTTPS",
    default=False,
    about="The site is reached by https: secure cookies, HSTS, redirect from http.",
)
TRUSTED_PROXIES = env.integer(
    "VERIFRAME_TRUSTED_PROXIES",
    0,
    about="Number of reverse proxies in front whose X-Forwarded-For and X-Forwarded-Proto are believed.",
)

# -- Services --------------------------------------------------------------------------------------------------------
REDIS_URL = env.url(
    "REDIS_URL",
    "",
    about="Redis for messages, events and cache. Without it one process is web server and worker at once.",
    schemes=["redis", "rediss", "unix"],
)
RABBITMQ_URL = env.url(
    "RABBITMQ_URL",
    "",
    about="RabbitMQ for messages, where Redis shall not keep them; REDIS_URL is needed all the same.",
    schemes=["amqp", "amqps"],
)
if RABBITMQ_URL and not REDIS_URL:
    raise BadSetting("REDIS_URL", None, "expected a URL like redis://..., for events and cache, beside RABBITMQ_URL")
EMBEDDED = not REDIS_URL
DATABASES = {
    "default": database_from_url(
        "DATABASE_URL",
        env.url(
            "DATABASE_URL",
            "sqlite:///db.sqlite3",
            about="SQLite file (relative to the project) or postgresql://USER:PASSWORD@HOST:PORT/NAME.",
            schemes=["sqlite", "postgresql", "postgres"],
        ),
        BASE_DIR,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Uploads ---------------------------------------------------------------------------------------------------------
_media_root = env.path(
    "VERIFRAME_MEDIA_ROOT", "media", about="Folder of uploads, never served as it is.", base=BASE_DIR
)
assert _media_root is not None
MEDIA_ROOT = _media_root
MEDIA_URL = ""  # there is none: every file goes through detection.views.file
X_ACCEL = env.text(
    "VERIFRAME_X_ACCEL",
    "",
    about="Internal location of an nginx in front (/protected-media/) that sends the files; empty: this server does.",
)
if X_ACCEL and not (X_ACCEL.startswith("/") and X_ACCEL.endswith("/")):
    raise BadSetting("VERIFRAME_X_ACCEL", X_ACCEL, "expected a location like /protected-media/")
MAX_UPLOAD_BYTES = (
    1024
    * 1024
    * env.integer(
        "VERIFRAME_MAX_UPLOAD_MB",
        100,
        about="Largest upload in MiB, also of all files of one form together.",
        minimum=1,
    )
)
MAX_PIXELS = 1_000_000 * env.integer(
    "VERIFRAME_MAX_MEGAPIXELS", 50, about="Largest picture or video frame, in millions of pixels.", minimum=1
)
MAX_MEDIA_SECONDS = 60 * env.integer("VERIFRAME_MAX_MINUTES", 240, about="Longest video, in minutes.", minimum=1)
S3_BUCKET = env.text(
    "VERIFRAME_S3_BUCKET",
    "",
    about="S3 bucket for files and pictures, instead of the folder. Its keys come from the usual AWS_... variables.",
)
S3_ENDPOINT = env.url(
    "VERIFRAME_S3_ENDPOINT",
    "",
    about="Where the bucket is, if not at Amazon's (https://s3.example.org); browsers must reach it, too.",
    schemes=["https", "http"],
)
S3_REGION = env.text("VERIFRAME_S3_REGION", "us-east-1", about="Region of the bucket.")
S3_PREFIX = env.text("VERIFRAME_S3_PREFIX", "", about="What names in the bucket begin with, if it has other content.")
S3_URL_SECONDS = env.integer(
    "VERIFRAME_S3_URL_SECONDS",
    300,
    about="How long the address of a file in the bucket is good, once a browser has been given it.",
    minimum=10,
    maximum=3600,
)
_FILES: dict[str, Any] = {"BACKEND": "detection.storage.folder.Folder"}  # under MEDIA_ROOT
if S3_BUCKET:
    _FILES = bucket(name=S3_BUCKET, endpoint=S3_ENDPOINT, region=S3_REGION, prefix=S3_PREFIX, https=HTTPS)
FILE_ORIGINS = [origin(_FILES)] if S3_BUCKET else []  # of other hosts that pages show pictures and videos from
STORAGES = {
    "default": _FILES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "config.uploads.IncomingFileHandler",
]
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

# -- Retention: how long what is sent and found is kept ---------------------------------------------------------------
MEDIA_MAX_SECONDS = 60 * env.integer(
    "VERIFRAME_MEDIA_MAX_MINUTES",
    1440,
    about="Longest time that a user may have a file kept after its result, in minutes.",
)
MEDIA_SECONDS = 60 * env.integer(
    "VERIFRAME_MEDIA_MINUTES",
    60,
    about="How long a file is kept after its result unless its user says otherwise, in minutes.",
    maximum=MEDIA_MAX_SECONDS // 60,
)
PICTURES_DAYS = env.integer(
    "VERIFRAME_PICTURES_DAYS", 30, about="How long pictures of faces and heat maps are kept, in days.", minimum=1
)
RESULTS_DAYS = env.integer(
    "VERIFRAME_RESULTS_DAYS", 365, about="How long results are kept, in days; 0: until their user deletes them."
)
if RESULTS_DAYS and max(PICTURES_DAYS, MEDIA_MAX_SECONDS / 86400) > RESULTS_DAYS:
    raise BadSetting("VERIFRAME_RESULTS_DAYS", str(RESULTS_DAYS), "expected no less than pictures and files are kept")
HOLD_DAYS = env.integer(
    "VERIFRAME_HOLD_DAYS",
    14,
    about="Longest time that the file of a disputed result is kept for the reviewers, in days.",
    minimum=1,
)
RECEIPT_DAYS = env.integer(
    "VERIFRAME_RECEIPT_DAYS", 365, about="How long the receipts of what was deleted are kept, in days.", minimum=1
)
STORAGE_BYTES = (
    1024
    * 1024
    * env.integer(
        "VERIFRAME_STORAGE_MB", 2048, about="Files that one user may have stored at once, in MiB; 0 for any number."
    )
)

# -- Analysis --------------------------------------------------------------------------------------------------------
ANALYSIS_MODEL = env.text(
    "VERIFRAME_MODEL",
    "",
    about="Model that judges, as `name` or `name-v2`; empty for the one that the admin activated.",
)
ANALYSIS_WEIGHTS_DIR = env.path(
    "VERIFRAME_WEIGHTS_DIR",
    "",
    about="Folder with another registry.toml and its weights.",
    base=BASE_DIR,
    must_exist=True,
)
_models_dir = env.path(
    "VERIFRAME_MODELS_DIR",
    "models",
    about="Folder of models that were imported, the same for all processes.",
    base=BASE_DIR,
)
assert _models_dir is not None
MODELS_DIR = _models_dir
if MODELS_DIR.is_relative_to(MEDIA_ROOT):
    raise BadSetting("VERIFRAME_MODELS_DIR", str(MODELS_DIR), "expected a folder outside of VERIFRAME_MEDIA_ROOT")
ANALYSIS_RUNTIME: Literal["auto", "litert", "tensorflow"] = env.choice(
    "VERIFRAME_RUNTIME",
    "auto",
    about="What runs a model that both can run; auto: TensorFlow where it sees a graphics card.",
    choices=["auto", "litert", "tensorflow"],
)
ANALYSIS_FACE_DETECTOR: Literal["blazeface", "yunet"] = env.choice(
    "VERIFRAME_FACE_DETECTOR", "blazeface", about="What finds faces.", choices=["blazeface", "yunet"]
)
ANALYSIS_YUNET_MODEL = env.path(
    "VERIFRAME_YUNET_MODEL", "", about="YuNet's ONNX file, needed by `yunet`.", base=BASE_DIR, must_exist=True
)
if ANALYSIS_FACE_DETECTOR == "yunet" and ANALYSIS_YUNET_MODEL is None:
    raise BadSetting("VERIFRAME_YUNET_MODEL", None, "expected YuNet's ONNX file, because VERIFRAME_FACE_DETECTOR=yunet")
ANALYSIS_FRAMES = env.integer(
    "VERIFRAME_FRAMES",
    32,
    about="Frames of a video that are looked at, at most. From 32 on half of them are enough where these are clear.",
    minimum=1,
    maximum=512,
)
ANALYSIS_THREADS = env.integer("VERIFRAME_THREADS", 2, about="Threads of the network in one worker.", minimum=1)
ANALYSIS_TIME_LIMIT = env.integer(
    "VERIFRAME_TIME_LIMIT",
    1800,
    about="Seconds after which an analysis is given up (`timed_out`).",
    minimum=10,
)
ANALYSIS_THOROUGH_TIME_LIMIT = env.integer(
    "VERIFRAME_THOROUGH_TIME_LIMIT",
    7200,
    about="The same for a video that is looked at thoroughly; also how long decoding it may take.",
    minimum=10,
)
ANALYSIS_IMAGE_TIME_LIMIT = env.integer(
    "VERIFRAME_IMAGE_TIME_LIMIT",
    300,
    about="The same for a picture, in seconds.",
    minimum=10,
)
# Twice what the largest picture that is allowed was seen to take (1.2 GiB with 49 megapixels).
WORKER_MEMORY_BYTES = (
    1024
    * 1024
    * env.integer(
        "VERIFRAME_WORKER_MEMORY_MB",
        3072,
        about="Memory that one process of `manage.py worker` may have, in MiB; 0 for no limit.",
    )
)
ANALYSIS_LEASE = env.integer(
    "VERIFRAME_LEASE",
    120,
    about="Seconds without a sign of life after which another worker takes an analysis over.",
    minimum=5,
)
ANALYSIS_ATTEMPTS = env.integer(
    "VERIFRAME_ATTEMPTS", 3, about="How often an analysis is begun before it counts as failed.", minimum=1
)
SANDBOX = env.boolean(
    "VERIFRAME_SANDBOX",
    default=True,
    about="Files are decoded in confined processes; no only where that cannot work.",
)
# The largest picture that is allowed was seen to need between 1.5 and 2 GiB, as a WebP.
DECODE_MEMORY_BYTES = (
    1024
    * 1024
    * env.integer(
        "VERIFRAME_DECODE_MEMORY_MB",
        3072,
        about="Address space of a process that decodes a file, in MiB (`out_of_memory`).",
        minimum=512,
    )
)
DECODE_SECONDS = env.integer(
    "VERIFRAME_DECODE_SECONDS",
    600,
    about="Processor time, and time waited for, of decoding one file, in seconds (`timed_out`).",
    minimum=5,
)

# -- Webhooks --------------------------------------------------------------------------------------------------------
WEBHOOK_NETWORKS = env.networks(
    "VERIFRAME_WEBHOOK_NETWORKS",
    "",
    about="Private networks (10.1.0.0/16) that webhooks may be sent to; users see how an answer from there begins.",
)

# -- Review ----------------------------------------------------------------------------------------------------------
REVIEWERS = env.integer(
    "VERIFRAME_REVIEWERS",
    1,
    about="How many reviewers must agree on a result; two in any case where its user says that it is wrong.",
    minimum=1,
    maximum=2,
)

# -- Limits ----------------------------------------------------------------------------------------------------------
# The one place for them; detection.limits counts. By address it is more than by user: many may share one. A result
# page with its pictures takes about a hundred requests.
RATE_LIMITS: dict[str, dict[str, str | None]] = {
    "uploads": {
        "user": env.rate(
            "VERIFRAME_LIMIT_UPLOADS", "5/m", about="Uploads and new runs of one user; `none` for no limit."
        ),
        "address": env.rate("VERIFRAME_LIMIT_UPLOADS_ADDRESS", "30/m", about="Uploads and new runs from one address."),
    },
    "requests": {
        "user": env.rate("VERIFRAME_LIMIT_REQUESTS", "1200/m", about="All requests of one user."),
        "address": env.rate("VERIFRAME_LIMIT_REQUESTS_ADDRESS", "3000/m", about="All requests from one address."),
    },
}
RATELIMIT_FAIL_OPEN = True
RATELIMIT_IP_META_KEY = "detection.limits.client_address"
DAILY_QUOTA = env.integer(
    "VERIFRAME_DAILY_QUOTA", 500, about="Analyses that one user may begin in a day (UTC); 0 for any number."
)

# -- Programs --------------------------------------------------------------------------------------------------------
IDEMPOTENCY_HOURS = env.integer(
    "VERIFRAME_IDEMPOTENCY_HOURS", 24, about="How long an `Idempotency-Key` is remembered.", minimum=1
)
PREDICT_SECONDS = env.integer(
    "VERIFRAME_PREDICT_SECONDS",
    25,
    about="How long `/predict` waits for a result before it answers 202.",
    minimum=0,
    maximum=120,
)
MAX_WAITING = env.integer(
    "VERIFRAME_MAX_WAITING",
    16,
    about="Requests that may wait for a result at once; each holds a thread. Further ones are answered 202 at once.",
)
OPEN_PREDICT = env.boolean(
    "VERIFRAME_OPEN_PREDICT",
    default=False,
    about="`/predict` also serves those who are not signed in, and forgets their files after an hour.",
)
CORS_ALLOWED_ORIGINS = env.words(
    "VERIFRAME_CORS_ORIGINS",
    "http://localhost:3000",
    about="Origins (https://example.org) whose pages may call API and `/predict`.",
)
CORS_URLS_REGEX = r"^/(api/.*|predict(/.*)?|media/.*|health/?|ready/?|)$"
CORS_ALLOW_HEADERS = ("accept", "authorization", "content-type", "idempotency-key", "prefer", "range", "x-request-id")
CORS_EXPOSE_HEADERS = (
    "Content-Disposition",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
KNOX_TOKEN_MODEL = "accounts.ApiToken"  # noqa: S105  (a model)
REST_KNOX = {"TOKEN_PREFIX": "vf_", "TOKEN_MODEL": KNOX_TOKEN_MODEL}
MIGRATION_MODULES = {"knox": None}  # its own table is not used: it knows neither names nor last use

# -- Apps ------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "accounts.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "channels",
    "django_dramatiq",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "csp",
    "accounts",
    "detection",
]
MIDDLEWARE = [
    "config.request_id.middleware",
    "config.metrics.middleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "config.static.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.OwnLanguage",
    "detection.limits.RateLimits",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.SessionsSeen",
]
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # no cookie of its own
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# -- Messages and events ---------------------------------------------------------------------------------------------
if EMBEDDED:
    _BROKER: dict[str, Any] = {"BROKER": "dramatiq.brokers.stub.StubBroker"}
elif RABBITMQ_URL:
    _BROKER = {"BROKER": "config.rabbitmq.Broker", "OPTIONS": {"url": RABBITMQ_URL}}
else:
    _BROKER = {
        "BROKER": "dramatiq.brokers.redis.RedisBroker",
        # Messages that a dead worker had taken go back when somebody looks for them, a minute after its death.
        # Dramatiq's one look in a thousand commands is rare where few workers are left.
        "OPTIONS": {"url": REDIS_URL, "namespace": "veriframe", "maintenance_chance": 50_000},
    }
DRAMATIQ_BROKER: dict[str, Any] = {
    **_BROKER,
    "MIDDLEWARE": [
        "config.tracing.Tracing",  # first: what the others log names request and analysis, too
        "config.scheduler.Scheduler",  # before all that wakes or interrupts a worker's threads when it stops
        # No AgeLimit: an analysis is owed to its user however long the queue is.
        "config.recovery.DatabaseFirst",
        "config.time_limit.TimeLimit",
        "dramatiq.middleware.ShutdownNotifications",
        "dramatiq.middleware.Retries",
        "django_dramatiq.middleware.DbConnectionsMiddleware",
        "config.signs.SignsOfLife",
        "config.metrics.WorkerMetrics",
        "config.recovery.DeadLetters",
        "config.preparation.Preparation",
    ],
}
if S3_BUCKET:
    DRAMATIQ_BROKER["MIDDLEWARE"].append("detection.storage.copies.ForgetsCopies")
DEAD_LETTERS = "detection.dead_letters.record"  # what config.recovery.DeadLetters calls
# What config.preparation.Preparation calls in each thread that works on a queue.
PREPARATIONS = {"images": "detection.judges.prepare", "videos": "detection.judges.prepare"}
# What config.scheduler.Scheduler has done inside the workers, by one of them at a time: function, seconds.
JOBS: tuple[tuple[str, int], ...] = (
    ("detection.services.sweep", max(1, ANALYSIS_LEASE // 4)),
    ("detection.cleanup.expire", 30),
    ("detection.cleanup.tidy", 3600),
    ("accounts.sessions.forget_ended", 3600),
)
JOB_LEADER = "detection.leases.JobLeader"  # tells whether this process is the one
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if EMBEDDED
    else {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # A consumer waits for news in calls of five seconds (``brpop_timeout``), and five seconds are also redis-py's
        # patience with a socket: with that, a WebSocket on which nothing happens for so long would be cut.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 15}], "prefix": "veriframe"},
    }
}
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # The counters of the limits live here; beyond 300, the default, they would push each other out.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
    if EMBEDDED
    else {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "veriframe",
    }
}

# -- Accounts --------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_CHANGE_EMAIL = True  # one address; the new one counts once it is confirmed
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # who finds an open browser shall not take the account over
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of a changed password, address or second factor
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Veriframe: "
ACCOUNT_EMAIL_VERIFICATION = env.choice(
    "VERIFRAME_EMAIL_VERIFICATION",
    "none",
    about="Whether a new user must confirm the address before the first sign-in.",
    choices=["none", "optional", "mandatory"],
)
MFA_ADAPTER = "accounts.second_factor.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Veriframe"
MFA_FORMS = {
    "authenticate": "accounts.second_factor.AuthenticateForm",
    "reauthenticate": "accounts.second_factor.ReauthenticateForm",
}
MFA_TOTP_TOLERANCE = 1  # periods of 30 seconds: telephones' clocks are not quite right
# Where addresses need no confirmation a second factor needs none either; where they do, nobody is signed in without.
# It also lets those who have a second factor change their address.
MFA_ALLOW_UNVERIFIED_EMAIL = True
STAFF_MFA = env.boolean(
    "VERIFRAME_STAFF_MFA",
    default=False,
    about="Reviewers and administrators must set up a second factor before the admin opens.",
)
ERASE = "detection.privacy.erasure.erase"  # what accounts.admin calls to delete a user with all that is stored
RIGHTS_LOG = "detection.review.audit.note_rights"  # what accounts calls when somebody's rights have changed
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "detection:home"
ACCOUNT_LOGOUT_REDIRECT_URL = "detection:home"

EMAIL_BACKEND = "django.core.mail.backends.{}.EmailBackend".format(
    env.choice("VERIFRAME_EMAIL", "console", about="Where e-mail goes.", choices=["console", "smtp"])
)
EMAIL_HOST = env.text("VERIFRAME_EMAIL_HOST", "localhost", about="SMTP server.")
EMAIL_PORT = env.integer("VERIFRAME_EMAIL_PORT", 25, about="SMTP port.", minimum=1, maximum=65535)
EMAIL_HOST_USER = env.text("VERIFRAME_EMAIL_USER", "", about="SMTP user.")
EMAIL_HOST_PASSWORD = env.secret("VERIFRAME_EMAIL_PASSWORD", about="SMTP password.")
EMAIL_TIMEOUT = 10  # seconds; a page may wait for it
EMAIL_USE_TLS = env.boolean("VERIFRAME_EMAIL_TLS", default=False, about="SMTP with STARTTLS.")
SITE_URL = env.url(
    "VERIFRAME_SITE_URL",
    "",
    about="Address of this site (https://example.org), for links in what workers e-mail; without it there are none.",
    schemes=["http", "https"],
)
DEFAULT_FROM_EMAIL = env.text("VERIFRAME_EMAIL_FROM", "veriframe@localhost", about="Sender of e-mail.")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# -- Pages, API, static files ----------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.tokens.TokenAuthentication",
        "detection.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.MultiPartParser", "rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "detection.api.negotiation.OurFormat",
    "DEFAULT_THROTTLE_CLASSES": ["detection.api.throttling.TokenRequests"],
    "EXCEPTION_HANDLER": "detection.api.errors.handle",
    "DEFAULT_SCHEMA_CLASS": "detection.api.schema.Documented",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Veriframe",
    "VERSION": VERSION,
    "DESCRIPTION": "Finds manipulated faces in videos and images, and shows why it thinks so.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",  # served from here: our policy allows no other origin
    "SWAGGER_UI_FAVICON_HREF": "/static/img/favicon.svg",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "validatorUrl": None, "docExpansion": "list"},
    "ENUM_NAME_OVERRIDES": {
        "AnalysisStatus": "detection.models.Analysis.Status",
        "Verdict": "detection.api.serializers.VERDICTS",
        "HumanVerdict": "detection.api.serializers.HUMAN",
        "DisputeStatus": "detection.models.Dispute.Status",
        "DisputeCategory": "detection.models.Dispute.Category",
        "WebhookEventType": "detection.models.WebhookEvent.Type",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "detection.api.schema.add_headers",
    ],
    "TAGS": [
        {"name": "analyses", "description": "Send files and read what was found."},
        {"name": "account", "description": "Who one is, what one may still do, one's tokens."},
        {"name": "webhooks", "description": "Addresses that hear how analyses end, and what was sent to them."},
        {"name": "models", "description": "What judges."},
        {"name": "older servers", "description": "The contract of the servers that this one replaces."},
        {"name": "service", "description": "Whether this installation is alive and ready."},
    ],
}
CSRF_FAILURE_VIEW = "detection.views.csrf_failure"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served from static/ and the apps' own folders, so there is no collectstatic step and no STATIC_ROOT; browsers
# ask again after a minute.
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
# The second one words formally ("Sie") what allauth's own German says informally.
LOCALE_PATHS = [BASE_DIR / "config" / "locale", BASE_DIR / "config" / "locale_allauth"]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

# -- Security --------------------------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:", *FILE_ORIGINS],
        "media-src": ["'self'", "blob:", *FILE_ORIGINS],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 3600 * env.integer(
    "VERIFRAME_SESSION_HOURS", 72, about="Hours without a request after which a browser is signed out.", minimum=1
)
SESSION_LONGEST = 86400 * env.integer(
    "VERIFRAME_SESSION_DAYS", 14, about="Days after which a browser is signed out however busy it is.", minimum=1
)
CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    # The prefix has browsers refuse these from any other host, also one below this one, and without https.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
LANGUAGE_COOKIE_SECURE = HTTPS
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean(
    "VERIFRAME_HSTS_SUBDOMAINS",
    default=True,
    about="HSTS also holds for hosts below this one; say no if any of them must be reached without https.",
)
# Not by us: browsers' lists are for life, and for the whole domain, whose owner alone may want that.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = env.words(
    "VERIFRAME_TRUSTED_ORIGINS",
    "",
    about="Origins (https://example.org) whose forms are accepted, behind a proxy.",
)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# -- Log -------------------------------------------------------------------------------------------------------------
LOG_LEVEL = env.choice(
    "VERIFRAME_LOG_LEVEL", "INFO", about="What is logged.", choices=["DEBUG", "INFO", "WARNING", "ERROR"]
)
LOG_FORMAT = env.choice(
    "VERIFRAME_LOG_FORMAT",
    "line",
    about="Lines for people, or JSON, an object a line, for what collects logs.",
    choices=["line", "json"],
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} [{request_id}]: {message}", "style": "{"},
        "json": {"()": "config.log.JsonLines"},
    },
    "filters": {
        "request_id": {"()": "config.request_id.LogFilter"},
        "analysis_id": {"()": "config.log.Subject"},
    },
    "handlers": {
        "stderr": {
            "class": "config.redaction.Handler",
            "formatter": LOG_FORMAT,
            "filters": ["request_id", "analysis_id"],
        },
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        # Each of these would also reach the root's handler, but at the level that the site chose.
        **{name: {"level": LOG_LEVEL} for name in ("detection", "accounts", "config")},
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "uvicorn.error": {"level": "WARNING"},  # "Started server process" etc.: `serve` says it better
        "uvicorn.access": {"level": "WARNING"},
        "dramatiq": {"level": "WARNING"},
        "pika": {"level": "CRITICAL"},  # a page about each attempt to connect; who asked for it says it in a line
        "apscheduler": {"level": "ERROR"},  # warns of every job that waits behind a long one
    },
}

# -- Figures for Prometheus, see config.metrics ----------------------------------------------------------------------
METRICS_TOKEN = env.secret("VERIFRAME_METRICS_TOKEN", about="Shown as Authorization: Bearer, it opens /metrics.")
METRICS_NETWORKS = env.networks(
    "VERIFRAME_METRICS_NETWORKS",
    "",
    about="Networks (10.1.0.0/16) from which /metrics may be read without the token. Without both it does not exist.",
)
METRICS_PORT = env.integer(
    "VERIFRAME_METRICS_PORT",
    0,
    about="Port on which each process, web server or worker, answers /metrics; if taken, the next free one. 0: none.",
    maximum=65000,
)
METRICS_HOST = env.text(
    "VERIFRAME_METRICS_HOST", "127.0.0.1", about="Address that VERIFRAME_METRICS_PORT is opened at."
)
if METRICS_PORT and not (METRICS_TOKEN or METRICS_NETWORKS):
    raise BadSetting(
        "VERIFRAME_METRICS_PORT",
        str(METRICS_PORT),
        "expected VERIFRAME_METRICS_TOKEN or VERIFRAME_METRICS_NETWORKS, too",
    )

ENV_VARIABLES = tuple(env.variables)  # what `manage.py settings_table` prints
