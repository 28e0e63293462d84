# SPDX-License-Identifier: Apache-2.0
# One page that shows how it goes: what is asked and answered, and what becomes of uploads.

locals {
  # A chart is a title, its unit and its lines; a line is a filter, and how its points and series become one another.
  user_metric = "metric.type=\"logging.googleapis.com/user/${var.name}"
  of_predict  = "resource.type=\"cloud_run_revision\""
  of_job      = "resource.type=\"cloud_run_job\""
  rate        = { perSeriesAligner = "ALIGN_RATE", crossSeriesReducer = "REDUCE_SUM" }
  delta       = { perSeriesAligner = "ALIGN_DELTA", crossSeriesReducer = "REDUCE_SUM" }

  charts = [
    {
      title = "Requests by status, a second"
      lines = [{ filter = "${local.user_metric}/requests\" AND ${local.of_predict}", by = ["metric.label.status"], how = local.rate }]
    },
    {
      title = "Requests by source of their values, a second"
      lines = [for source in ["table", "model", "backoff", "fallback", "none"] :
        { filter = "${local.user_metric}/answers/${source}\" AND ${local.of_predict}", legend = source, how = local.rate }
      ]
    },
    {
      title = "Latency in the function, ms: half of the requests, and all but one in a hundred"
      line  = local.deadline_ms
      lines = [for percent in ["50", "99"] : {
        filter = "${local.user_metric}/latency\" AND ${local.of_predict}"
        legend = "p${percent}"
        how    = { perSeriesAligner = "ALIGN_DELTA", crossSeriesReducer = "REDUCE_PERCENTILE_${percent}" }
      }]
    },
    {
      title = "Share of requests with an error of ours"
      line  = 0.01
      lines = [{
        filter = "${local.user_metric}/requests\" AND ${local.of_predict} AND metric.labels.status=starts_with(\"5\")"
        of     = "${local.user_metric}/requests\" AND ${local.of_predict}"
        how    = local.rate
      }]
    },
    {
      title = "Answers by Cloud Run, a second: also what never reached the function"
      lines = [{
        filter = "metric.type=\"run.googleapis.com/request_count\" AND ${local.predict_service}"
        by     = ["metric.label.response_code_class"]
        how    = local.rate
      }]
    },
    {
      title = "Instances of predict"
      lines = [{
        filter = "metric.type=\"run.googleapis.com/container/instance_count\" AND ${local.predict_service}"
        by     = ["metric.label.state"]
        how    = { perSeriesAligner = "ALIGN_MAX", crossSeriesReducer = "REDUCE_SUM" }
      }]
    },
    {
      title = "Uploads by what became of them"
      bars  = true
      lines = [{ filter = "${local.user_metric}/uploads\" AND ${local.of_job}", by = ["metric.label.outcome"], how = local.delta }]
    },
    {
      title = "Quarantine: uploads by why"
      bars  = true
      lines = [{
        filter = "${local.user_metric}/uploads\" AND ${local.of_job} AND metric.labels.outcome=\"quarantined\""
        by     = ["metric.label.code"]
        how    = local.delta
      }]
    },
    {
      title = "Runs by how they ended"
      bars  = true
      lines = [{ filter = "${local.user_metric}/runs\" AND ${local.of_job}", by = ["metric.label.outcome"], how = local.delta }]
    },
    {
      title = "Seconds of a run: half of them, and all but one in a hundred"
      lines = [for percent in ["50", "99"] : {
        filter = "${local.user_metric}/run_seconds\" AND ${local.of_job}"
        legend = "p${percent}"
        how    = { perSeriesAligner = "ALIGN_DELTA", crossSeriesReducer = "REDUCE_PERCENTILE_${percent}" }
      }]
    },
    {
      title = "Executions of the jobs that failed"
      bars  = true
      lines = [{
        filter = "${local.job_executions} AND resource.labels.job_name=starts_with(\"${var.name}-\") AND metric.labels.result=\"failed\""
        by     = ["resource.label.job_name"]
        how    = local.delta
      }]
    },
    {
      title = "Dead letters that wait for somebody"
      lines = [{
        filter = join(" AND ", [
          "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\"",
          "resource.type=\"pubsub_subscription\"",
          "resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters.name}\"",
        ])
        how = { perSeriesAligner = "ALIGN_MAX", crossSeriesReducer = "REDUCE_SUM" }
      }]
    },
  ]
}

resource "google_monitoring_dashboard" "dropfit" {
  dashboard_json = jsonencode({
    displayName = "${var.name} (${var.environment})"
    labels      = { app = "dropfit" }
    mosaicLayout = {
      columns = 12
      # Google leaves zeros and empty lists out of what it answers: said here, they would differ with every plan.
      tiles = [for place, chart in local.charts : merge({
        width  = 6
        height = 4
        widget = {
          title = chart.title
          xyChart = merge({
            dataSets = [for line in chart.lines : merge(
              { plotType = try(chart.bars, false) ? "STACKED_BAR" : "LINE" },
              can(line.legend) ? { legendTemplate = line.legend } : {},
              {
                # Through JSON, for to Terraform the two are not of one type.
                timeSeriesQuery = jsondecode(can(line.of) ? jsonencode({
                  timeSeriesFilterRatio = {
                    numerator   = { filter = line.filter, aggregation = merge({ alignmentPeriod = "300s" }, line.how) }
                    denominator = { filter = line.of, aggregation = merge({ alignmentPeriod = "300s" }, line.how) }
                  }
                  }) : jsonencode({
                  timeSeriesFilter = {
                    filter = line.filter
                    aggregation = merge(
                      { alignmentPeriod = try(chart.bars, false) ? "3600s" : "60s" },
                      can(line.by) ? { groupByFields = line.by } : {},
                      line.how,
                    )
                  }
                }))
              },
            )]
          }, can(chart.line) ? { thresholds = [{ value = chart.line }] } : {})
        }
      }, place % 2 == 0 ? {} : { xPos = 6 }, place < 2 ? {} : { yPos = floor(place / 2) * 4 })]
    }
  })

  depends_on = [google_project_service.apis]
}
