// Starts Swagger UI on the page /docs. It asks nobody but this daemon, and keeps nothing: a key that is typed in is gone with the page.
"use strict";

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  persistAuthorization: false,
  oauth2RedirectUrl: null,
  validatorUrl: null,
});
