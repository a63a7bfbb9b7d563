{{/* Names and labels that several templates share. */}}

{{- define "realtime-gateway.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "realtime-gateway.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "realtime-gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "realtime-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "realtime-gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "realtime-gateway.name" .) }}{{ else }}{{ required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "realtime-gateway.image" -}}
{{- if .Values.image.digest }}{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}{{ else }}{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}{{ end }}
{{- end }}

{{- define "realtime-gateway.gatewayImage" -}}
{{- .Values.gateway.image | default (printf "ghcr.io/realtime-gateway/rtgw:%s" .Chart.AppVersion) }}
{{- end }}

{{/* The namespaces that are served, as a list in YAML; empty for the whole cluster. */}}
{{- define "realtime-gateway.namespaces" -}}
{{- if .Values.watch.cluster }}
{{- if .Values.watch.namespaces }}{{ fail "watch.namespaces must be empty where watch.cluster is true: take one of the two" }}{{ end }}
{{- toYaml list }}
{{- else }}
{{- toYaml (.Values.watch.namespaces | default (list .Release.Namespace)) }}
{{- end }}
{{- end }}

{{/* Where `helm test` makes its gateway. */}}
{{- define "realtime-gateway.testNamespace" -}}
{{- first (include "realtime-gateway.namespaces" . | fromYamlArray | default (list .Release.Namespace)) }}
{{- end }}

{{/* What the operator may do with the objects and children of a namespace it serves. It cannot read a Secret: it only creates them. */}}
{{- define "realtime-gateway.rules" -}}
- apiGroups: [realtime-gateway.dev]
  resources: [realtimegateways]
  verbs: [get, list, watch]
- apiGroups: [realtime-gateway.dev]
  resources: [realtimegateways/status]
  verbs: [patch]
# To name an object as owner that blocks deletion, where the cluster demands that right.
- apiGroups: [realtime-gateway.dev]
  resources: [realtimegateways/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, statefulsets, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, update]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
