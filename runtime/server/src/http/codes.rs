//! The codes of API errors: a closed list, each with its status, its title and its page. How an attempt ended is told
//! by another closed list, `heddle_core::outcome::FailureKind`; the pages cover both.

use hyper::StatusCode;

macro_rules! codes {
    ($($name:ident = $word:literal $status:ident $title:literal;)*) => {
        /// What is wrong with a request, or with us.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// Every code, in the order of this file.
            pub const ALL: &[Code] = &[$(Code::$name),*];
            /// The stable word of the wire.
            pub fn word(self) -> &'static str { match self { $(Code::$name => $word,)* } }
            /// The status that goes with it.
            pub fn status(self) -> StatusCode { match self { $(Code::$name => StatusCode::$status,)* } }
            /// A few words for a person.
            pub fn title(self) -> &'static str { match self { $(Code::$name => $title,)* } }
        }
    };
}

codes! {
    JsonInvalid = "json_invalid" BAD_REQUEST "The body is not JSON as it is accepted here.";
    JsonDepth = "json_depth" BAD_REQUEST "The JSON is nested too deep.";
    YamlInvalid = "yaml_invalid" BAD_REQUEST "The body is not YAML as it is accepted here.";
    YamlBudget = "yaml_budget" UNPROCESSABLE_ENTITY "The document is larger than a workflow may be.";
    BodyInvalid = "body_invalid" BAD_REQUEST "The body does not have the members that are wanted.";
    ParameterInvalid = "parameter_invalid" BAD_REQUEST "A parameter or a header is not as it is wanted.";
    RouteNotFound = "route_not_found" NOT_FOUND "There is nothing at this path.";
    RunNotFound = "run_not_found" NOT_FOUND "There is no such run.";
    StepNotFound = "step_not_found" NOT_FOUND "The run has no such step.";
    ValueNotFound = "value_not_found" NOT_FOUND "There is no value with this digest.";
    ArtifactNotFound = "artifact_not_found" NOT_FOUND "No run has kept a file with this digest.";
    WorkflowNotFound = "workflow_not_found" NOT_FOUND "There is no such workflow.";
    ScheduleNotFound = "schedule_not_found" NOT_FOUND "There is no such schedule.";
    TriggerNotFound = "trigger_not_found" NOT_FOUND "There is no such trigger.";
    CircuitNotFound = "circuit_not_found" NOT_FOUND "There is no such circuit breaker.";
    WebhookNotFound = "webhook_not_found" NOT_FOUND "There is no such webhook.";
    DeliveryNotFound = "delivery_not_found" NOT_FOUND "There is no such delivery.";
    PluginNotFound = "plugin_not_found" NOT_FOUND "There is no such plugin.";
    ComponentNotFound = "component_not_found" NOT_FOUND "No component with this digest was uploaded.";
    UpgradeRequired = "upgrade_required" UPGRADE_REQUIRED "There is a WebSocket at this path, and nothing else.";
    MessageUnverified = "message_unverified" UNAUTHORIZED "The message is not signed as it must be.";
    SignatureRequired = "signature_required" FORBIDDEN "Nobody whom this node trusts has signed it.";
    SignatureInvalid = "signature_invalid" FORBIDDEN "The signature is not good.";
    RegistryDenied = "registry_denied" FORBIDDEN "This node pulls nothing from there.";
    EgressDenied = "egress_denied" FORBIDDEN "Nothing is sent to this address.";
    OriginDenied = "origin_denied" FORBIDDEN "Pages of this origin, or requests by this name, are not answered here.";
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED "The path has no such method.";
    RequestTimeout = "request_timeout" REQUEST_TIMEOUT "The body did not come in time.";
    RunEnded = "run_ended" CONFLICT "The run has ended already.";
    NotAsked = "not_asked" CONFLICT "Nobody is asked for this decision, or not any more.";
    NotAssigned = "not_assigned" FORBIDDEN "Somebody else decides this.";
    StepConflict = "step_conflict" CONFLICT "The step is not where this can be done to it.";
    DuplicateRun = "duplicate_run" CONFLICT "The workflow allows one run with this key, and there is one.";
    WebhookConflict = "webhook_conflict" CONFLICT "The webhook is not where this can be done to it.";
    WorkflowState = "workflow_state" CONFLICT "The version of the workflow is not in a state for this.";
    WorkflowInUse = "workflow_in_use" CONFLICT "Something uses the version of the workflow.";
    PluginInUse = "plugin_in_use" CONFLICT "Something uses the version of the plugin.";
    ReleaseRefused = "release_refused" CONFLICT "This cannot be decided of the plugin's versions.";
    MigrationRefused = "migration_refused" CONFLICT "The run cannot go on with that version.";
    VersionConflict = "version_conflict" CONFLICT "The version is taken by something else.";
    BodyTooLarge = "body_too_large" PAYLOAD_TOO_LARGE "The body is larger than allowed.";
    UriTooLong = "uri_too_long" URI_TOO_LONG "The request target is longer than allowed.";
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body is of another type than is wanted.";
    WorkflowInvalid = "workflow_invalid" UNPROCESSABLE_ENTITY "The workflow has faults.";
    InputInvalid = "input_invalid" UNPROCESSABLE_ENTITY "The input does not match the workflow's schema.";
    ParametersInvalid = "parameters_invalid" UNPROCESSABLE_ENTITY "The parameters are not as the template wants them.";
    InputTooLarge = "input_too_large" UNPROCESSABLE_ENTITY "A part of the request is larger than a limit allows.";
    AdmissionInvalid = "admission_invalid" UNPROCESSABLE_ENTITY "The workflow's rules about who may begin say nothing about this run.";
    RerunInvalid = "rerun_invalid" UNPROCESSABLE_ENTITY "The run cannot be run again by itself.";
    DeadlinePassed = "deadline_passed" UNPROCESSABLE_ENTITY "The deadline leaves the run no time.";
    BackfillInvalid = "backfill_invalid" UNPROCESSABLE_ENTITY "The backfill cannot be made as it is asked.";
    WebhookInvalid = "webhook_invalid" UNPROCESSABLE_ENTITY "The webhook cannot be as it is wanted.";
    PluginMissing = "plugin_missing" UNPROCESSABLE_ENTITY "The workflow calls a plugin that is not loaded.";
    IdempotencyMismatch = "idempotency_mismatch" UNPROCESSABLE_ENTITY "The idempotency key came with another request before.";
    ComponentInvalid = "component_invalid" UNPROCESSABLE_ENTITY "The bytes are not a component that is accepted here.";
    ConnectorInvalid = "connector_invalid" UNPROCESSABLE_ENTITY "The connector has faults.";
    CompileLimit = "compile_limit" UNPROCESSABLE_ENTITY "Compiling the component takes more than allowed.";
    ConcurrencyLimit = "concurrency_limit" TOO_MANY_REQUESTS "As many runs with this key are under way as may be.";
    QuotaExceeded = "quota_exceeded" TOO_MANY_REQUESTS "You have as many of these as you may have.";
    HeadersTooLarge = "headers_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE "The headers are larger than allowed.";
    Internal = "internal" INTERNAL_SERVER_ERROR "A fault of ours.";
    RegistryFailed = "registry_failed" BAD_GATEWAY "The registry did not do what was asked.";
    QueueFull = "queue_full" SERVICE_UNAVAILABLE "As many runs wait as may wait.";
    Draining = "draining" SERVICE_UNAVAILABLE "The node is shutting down.";
    SecretMissing = "secret_missing" SERVICE_UNAVAILABLE "The node lacks a secret that an operator has to give it.";
    StoreUnavailable = "store_unavailable" SERVICE_UNAVAILABLE "The store does not answer.";
}

macro_rules! pages {
    ($($word:literal),* $(,)?) => {
        /// The page of each code and each failure kind, in Markdown.
        pub const PAGES: &[(&str, &str)] =
            &[$(($word, include_str!(concat!("../../../../docs/errors/", $word, ".md"))),)*];
    };
}

pages! {
    "json_invalid", "json_depth", "yaml_invalid", "yaml_budget", "body_invalid", "parameter_invalid", "route_not_found",
    "run_not_found", "step_not_found", "value_not_found", "artifact_not_found", "workflow_not_found", "schedule_not_found", "trigger_not_found", "message_unverified", "secret_missing", "circuit_not_found", "webhook_not_found", "delivery_not_found", "plugin_not_found",
    "component_not_found", "method_not_allowed", "upgrade_required", "origin_denied", "registry_denied", "registry_failed", "request_timeout", "run_ended", "not_asked", "not_assigned", "step_conflict", "duplicate_run", "workflow_state", "workflow_in_use", "plugin_in_use", "release_refused", "migration_refused", "version_conflict", "body_too_large",
    "uri_too_long", "unsupported_media_type", "workflow_invalid", "input_invalid", "parameters_invalid", "input_too_large",
    "admission_invalid", "rerun_invalid", "deadline_passed", "backfill_invalid", "webhook_invalid", "webhook_conflict", "plugin_missing", "idempotency_mismatch", "component_invalid", "connector_invalid", "compile_limit", "concurrency_limit", "quota_exceeded",
    "headers_too_large", "internal", "queue_full", "draining", "store_unavailable",
    // How an attempt can end, where the word is not one of the above.
    "fuel_exhausted", "cpu_deadline", "deadline_exceeded", "memory_limit", "table_limit", "stack_overflow", "trap",
    "guest_error", "guest_exit", "invalid_input", "invalid_output", "output_too_large", "hostcall_data_limit",
    "handle_limit", "hostcall_limit", "capability_denied", "egress_denied", "egress_failed", "egress_timeout",
    "signature_required", "signature_invalid", "diverged", "heartbeat_timeout", "compensation_failed",
    "expression_failed", "items_failed", "rejected", "cancelled", "interrupted", "circuit_open", "budget_exhausted",
}

/// The page of a code or a failure kind.
pub fn page(word: &str) -> Option<&'static str> {
    PAGES.iter().find(|(name, _)| *name == word).map(|(_, text)| *text)
}
