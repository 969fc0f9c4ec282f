{{- define "cvhub.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: cvhub
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "cvhub.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A value as text; numbers in all their digits, for Helm reads them as floating point and would print a million as 1e+06. */}}
{{- define "cvhub.text" -}}
{{ if kindIs "string" . }}{{ . | quote }}{{ else }}{{ toJson . | quote }}{{ end }}
{{- end }}

{{/* A pod of one service; `job` names the command it runs once, in place of serving. Kafka's secret is made by the chart's own objects, so
   that a job that runs before them must do without; no job speaks to Kafka. */}}
{{- define "cvhub.pod" -}}
metadata:
  labels:
    {{- include "cvhub.labels" . | nindent 4 }}
    app.kubernetes.io/component: {{ .job | default "service" }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: {{ if .job }}Never{{ else }}Always{{ end }}
  terminationGracePeriodSeconds: 40
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- if not .job }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "cvhub.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: "{{ .Values.image.repository }}/{{ .name }}:{{ .Values.image.tag }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- with .job }}
      args: [{{ . | quote }}]
      {{- end }}
      env:
        - {name: HTTP__HOST, value: "0.0.0.0"}
        - {name: HTTP__PORT, value: {{ .service.port | quote }}}
        - {name: IDENTITY__KEY_FILE, value: /identity/key.pem}
        - {name: IDENTITY__TRUSTED_FILE, value: /trusted/trusted.json}
        {{- if .service.database }}
        - {name: KAFKA__BOOTSTRAP_SERVERS, value: {{ .Values.kafka.bootstrapServers | quote }}}
        - {name: KAFKA__SECURITY_PROTOCOL, value: {{ .Values.kafka.securityProtocol }}}
        - {name: KAFKA__SASL_USERNAME, value: {{ .name }}}
        - {name: KAFKA__SASL_PASSWORD_FILE, value: /kafka/password}
        {{- if hasSuffix "SSL" .Values.kafka.securityProtocol }}
        - {name: KAFKA__SSL_CAFILE, value: /kafka-ca/ca.crt}
        {{- end }}
        {{- end }}
        {{- if and .service.codeLists .Values.codeLists.configMap }}
        - {name: CODE_LISTS, value: /code-lists}
        {{- end }}
        {{- with .Values.telemetry.endpoint }}
        - {name: TELEMETRY__OTLP_ENDPOINT, value: {{ . | quote }}}
        {{- end }}
        - {name: TELEMETRY__SAMPLE_RATIO, value: {{ include "cvhub.text" .Values.telemetry.sampleRatio }}}
        {{- range $setting, $called := .service.calls }}
        - {name: {{ $setting }}, value: "http://{{ $called }}:{{ (get $.Values.services $called).port }}"}
        {{- end }}
        {{- range $setting, $value := .service.env }}
        - {name: {{ $setting }}, value: {{ include "cvhub.text" $value }}}
        {{- end }}
        {{- range .service.secrets }}
        - name: {{ . }}
          valueFrom: {secretKeyRef: {name: cvhub-{{ $.name }}, key: {{ . }}}}
        {{- end }}
      {{- if not .job }}
      ports:
        - {name: http, containerPort: {{ .service.port }}}
      startupProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /health/ready, port: http}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      lifecycle:
        preStop: {sleep: {seconds: 5}}
      {{- end }}
      resources:
        {{- toYaml (.service.resources | default .Values.defaults.resources) | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: identity, mountPath: /identity, readOnly: true}
        - {name: trusted, mountPath: /trusted, readOnly: true}
        {{- if and .service.database (not .job) }}
        - {name: kafka, mountPath: /kafka, readOnly: true}
        {{- if hasSuffix "SSL" .Values.kafka.securityProtocol }}
        - {name: kafka-ca, mountPath: /kafka-ca, readOnly: true}
        {{- end }}
        {{- end }}
        {{- if and .service.codeLists .Values.codeLists.configMap }}
        - {name: code-lists, mountPath: /code-lists, readOnly: true}
        {{- end }}
        {{- if .Values.certificates.configMap }}
        - {name: certificates, mountPath: /certificates, readOnly: true}
        {{- end }}
        {{- with .service.folder }}
        - {name: folder, mountPath: {{ .path }}}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 256Mi}
    - name: identity
      secret: {secretName: {{ .Values.identity.keySecretPrefix }}{{ .name }}, defaultMode: 0440}
    - name: trusted
      configMap: {name: {{ .Values.identity.trustedConfigMap }}}
    {{- if and .service.database (not .job) }}
    - name: kafka
      secret: {secretName: {{ .name }}, defaultMode: 0440}
    {{- if hasSuffix "SSL" .Values.kafka.securityProtocol }}
    - name: kafka-ca
      secret: {secretName: {{ .Values.kafka.caSecret }}, defaultMode: 0440}
    {{- end }}
    {{- end }}
    {{- if and .service.codeLists .Values.codeLists.configMap }}
    - name: code-lists
      configMap: {name: {{ .Values.codeLists.configMap }}}
    {{- end }}
    {{- with .Values.certificates.configMap }}
    - name: certificates
      configMap: {name: {{ . }}}
    {{- end }}
    {{- with .service.folder }}
    - name: folder
      emptyDir: {sizeLimit: {{ .size }}}
    {{- end }}
{{- end }}
